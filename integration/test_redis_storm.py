"""After a storm of kills Redis holds what it held before: no key of ours is left, and no memory."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import redis
from test_storm import LEASE, WORKERS, Crew, Load, nothing_is_lost
from witness import Witness, until

if TYPE_CHECKING:
    from redis_server import RedisServer

LARGE = pytest.param(1_000, 1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])
GROWTH = 2 * 2**20  # bytes: buffers of connections, scripts, the allocator's own


def seen(url: str) -> tuple[set[bytes], int]:
    """Return the keys and the bytes used."""
    with redis.Redis.from_url(url) as client:
        client.execute_command("MEMORY", "PURGE")
        return set(client.scan_iter("*", count=1000)), client.info("memory")["used_memory"]


@pytest.mark.parametrize(("kills", "tasks"), [(8, 1), LARGE])
def test_a_storm_leaves_nothing_behind(redis_server: RedisServer, tmp_path, kills: int, tasks: int) -> None:
    """Kills of workers and children at random, under load, and at least so many ``tasks``."""
    generator = random.Random(kills)
    broker = f"{redis_server.url}?lease={LEASE}"
    large = {"burst": 200, "seconds": 0.0} if tasks > 1 else {}
    with Load(broker, tmp_path / "ran", **large) as load, Crew(broker) as crew:
        until(lambda: load.sent > 0)
        for _ in range(kills):
            time.sleep(generator.uniform(0.05, 0.4))  # the moment of the next murder, not a wait for something
            index = generator.randrange(WORKERS)
            family = crew.workers[index].family()
            victim = family[0] if generator.random() < 0.5 else generator.choice(family)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            if victim == family[0]:
                crew.workers[index].process.wait()
            if crew.workers[index].process.poll() is not None:
                crew.replace(index)
        until(lambda: load.sent >= tasks, 1800)
        twice, dead = nothing_is_lost(load, broker)
        until(lambda: not any(b"held" in key or b"unacked" in key for key in seen(redis_server.url)[0]), 10 * LEASE)
        for worker in crew.workers:
            worker.terminate()
    with Witness(broker) as witness:
        if witness.exists("celeriac.dead"):
            witness.delete("celeriac.dead")
    keys, used = seen(redis_server.url)
    print(f"{kills} kills: {load.sent} sent, 0 lost, {twice} run twice, {dead} set aside; {used // 1024} KiB, {keys}")
    ours = {key for key in keys if not key.startswith((b"_kombu.binding", b"celeriac:queues", b"celeriac:exchanges"))}
    assert not ours, f"left behind: {ours}"
    assert used < 1_200_000 + GROWTH
