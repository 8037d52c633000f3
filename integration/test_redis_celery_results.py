"""Results shared with a real Celery on one Redis: its client reads ours, and we read its worker's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
import redis
from worker_process import PROGRAMS, WorkerProcess

from celeriac import App
from celeriac.clock import SystemClock
from celeriac.protocol import ErrorData
from celeriac.results import ResultRecord
from celeriac.testing.conformance.case import eventually, unique
from celeriac_redis.store import RedisStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ERROR = ErrorData(type="ValueError", module="builtins", args=["boom", 42], message="boom")


class CelerySide:
    """Runs the Celery program against one backend."""

    def __init__(self, python: Path, url: str, *, broker: str | None = None, prefix: str | None = None) -> None:
        self.url, _, query = url.partition("?")
        self.prefix = parse_qs(query)["prefix"][0] if prefix is None else prefix
        self._python = str(python)
        self._broker = broker

    def environment(self, **settings: object) -> dict[str, str]:
        options = {} if self._broker else {"broker_transport_options": {"global_keyprefix": self.prefix}}
        told = {"broker": self._broker or self.url, "backend": self.url, "prefix": self.prefix}
        return {**os.environ, "CELERY_SIDE": json.dumps({**told, "settings": {**options, **settings}})}

    def run(self, *arguments: str) -> str:
        with self.begun(*arguments) as process:
            out, err = process.communicate(timeout=40)
        assert process.returncode == 0, err
        return out

    @contextmanager
    def begun(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        command = [self._python, "celery_results.py", *arguments]
        with subprocess.Popen(
            command,
            cwd=PROGRAMS,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            yield process

    @contextmanager
    def worker(self, **settings: object) -> Iterator[None]:
        command = [self._python, "-m", "celery", "-A", "celery_results", "worker", "-P", "solo", "-l", "WARNING"]
        process = subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle"],
            cwd=PROGRAMS,
            env=self.environment(**settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def celery(celery_python, redis_url) -> CelerySide:
    return CelerySide(celery_python, redis_url)


def record(task_id: str, state: str, body: object = None, **fields: object) -> ResultRecord:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ResultRecord(**{"task_id": task_id, "attempt": 1, "state": state, "body": encoded, **fields})


async def opened(url: str) -> RedisStore:
    store = RedisStore([url], clock=SystemClock())
    await store.open()
    return store


async def asked(store: RedisStore, *ids: str) -> list[ResultRecord]:
    async with asyncio.timeout(30):
        return [one async for one in store.wait(ids)]


def history() -> tuple[dict[str, object], ...]:
    return ({"at": datetime.now(UTC).isoformat(), "attempt": 1, "why": "retry", "error": "no"},)


ERROR_OF_CELERY = {"exc_type": "TaskRevokedError", "exc_message": ["expired"], "exc_module": "celery.exceptions"}
PUT = (
    record("success", "SUCCESS", {"a": [1, "é", None]}, attempt=3, done_at=datetime.now(UTC)),
    record("history", "SUCCESS", 5, attempt=2, history=history()),
    record("failure", "FAILURE", ERROR.encode(), traceback="Traceback: é"),
    record("revoked", "REVOKED", ERROR_OF_CELERY, attempt=0),
    record("retry", "RETRY", ERROR.encode()),
    record("started", "STARTED", {"pid": 7, "hostname": "h"}),
    record("progress", "PROGRESS", {"done": 1}),
)
SEEN = {
    "success": ["SUCCESS", {"a": [1, "é", None]}],
    "history": ["SUCCESS", 5],
    "failure": ["FAILURE", ["ValueError", ["boom", 42]]],
    "revoked": ["REVOKED", ["TaskRevokedError", ["expired"]]],
    "retry": ["RETRY", ["ValueError", ["boom", 42]]],
    "started": ["STARTED", {"pid": 7, "hostname": "h"}],
    "progress": ["PROGRESS", {"done": 1}],
    "sent": ["PENDING", None],
    "never": ["PENDING", None],
}


def test_a_celery_client_reads_what_we_store(celery, redis_url):
    async def live() -> None:
        store = await opened(redis_url)
        await store.sent([*(one.task_id for one in PUT), "sent"])
        assert await store.put(PUT) == [True] * len(PUT)
        await store.close()

    asyncio.run(live())
    assert json.loads(celery.run("read", *SEEN)) == SEEN


def test_a_celery_client_that_waits_is_told(celery, redis_url):
    ids = [unique("task") for _ in range(3)]

    async def live(process: subprocess.Popen[str]) -> None:
        store = await opened(redis_url)
        await store.sent(ids)
        with redis.Redis.from_url(celery.url, decode_responses=True) as watching:

            async def waiting() -> int:
                return watching.pubsub_numsub(f"{celery.prefix}celery-task-meta-{ids[0]}")[0][1]

            await eventually(waiting, lambda count: count == 1, within=20)
        await store.put([record(one, "STARTED", {"pid": 7}) for one in ids])
        await store.put([record(ids[0], "SUCCESS", 5), record(ids[1], "FAILURE", ERROR.encode())])
        await store.put([record(ids[2], "REVOKED", json.loads(ERROR.encode()))])
        await store.close()

    with celery.begun("wait", *ids) as process:
        asyncio.run(live(process))
        out, err = process.communicate(timeout=40)
    error = ["ValueError", ["boom", 42]]
    assert json.loads(out) == {ids[0]: ["SUCCESS", 5], ids[1]: ["FAILURE", error], ids[2]: ["REVOKED", error]}, err


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"result_extended": True, "task_track_started": True},
        *({"result_compression": kind} for kind in ("gzip", "bzip2", "lzma")),
    ],
    ids=["plain", "extended", "gzip", "bzip2", "lzma"],
)
def test_we_read_what_a_celery_worker_stores(celery, redis_url, settings):
    tasks = {
        unique(name): (f"wapp.{name}", *arguments)
        for name, *arguments in (("add", 2, 3), ("fail",), ("progress",), ("retry",))
    }
    add, fail, progress, retry = tasks

    async def live() -> None:
        store = await opened(redis_url)
        await store.sent([add])
        waiting = asyncio.create_task(asked(store, *tasks))
        sending = [json.dumps([task_id, *call]) for task_id, call in tasks.items()]
        await asyncio.to_thread(celery.run, "send", *sending)
        got = {one.task_id: one for one in await waiting}
        stored = await store.get([*tasks])
        await store.close()
        assert {one.task_id: one.state for one in got.values()} == {one.task_id: one.state for one in stored}
        assert {name: json.loads(got[name].body) for name in (add, progress, retry)} == {
            add: 5,
            progress: "over",
            retry: 2,
        }
        assert {one.state for one in got.values()} == {"SUCCESS", "FAILURE"}
        error = json.loads(got[fail].body)
        assert (error["exc_type"], error["exc_message"]) == ("ValueError", ["boom", 42])
        assert "boom" in got[fail].traceback
        assert all(one.done_at is not None and one.done_at.tzinfo is not None for one in got.values())
        assert got[retry].attempt == (3 if "result_extended" in settings else 1)

    with celery.worker(**settings):
        asyncio.run(live())


def test_a_celery_worker_is_not_overwritten_by_a_late_one_of_ours(celery, redis_url):
    task = unique("task")

    async def live() -> None:
        store = await opened(redis_url)
        await asyncio.to_thread(celery.run, "send", json.dumps([task, "wapp.add", 2, 3]))
        (done,) = await asked(store, task)
        await store.sent([task])
        assert (
            await store.put([record(task, "STARTED"), record(task, "FAILURE", ERROR.encode(), attempt=9)])
            == [False] * 2
        )
        assert (await store.get([task]))[0].body == done.body == b"5"
        await store.close()

    with celery.worker():
        asyncio.run(live())


def test_celery_s_rule_for_the_prefix_is_ours(celery_python, redis_url):
    celery = CelerySide(celery_python, redis_url, prefix=f"{CelerySide(celery_python, redis_url).prefix}shop")

    async def live() -> None:
        store = await opened(f"{redis_url}shop")
        await store.put([record("x", "SUCCESS", 5)])
        await store.close()

    asyncio.run(live())
    assert json.loads(celery.run("read", "x")) == {"x": ["SUCCESS", 5]}


def test_a_celery_client_is_answered_by_our_worker_into_its_redis(celery_python, amqp_url, redis_url):
    celery = CelerySide(celery_python, redis_url, broker=amqp_url)
    tasks = [unique("task") for _ in range(2)]
    with WorkerProcess("fleet", amqp_url, "-c", "1", "--result-backend", redis_url) as worker:
        worker.ready()
        celery.run("send", json.dumps([tasks[0], "wapp.add", 2, 3]), json.dumps([tasks[1], "wapp.fail"]))
        said = json.loads(celery.run("wait", *tasks))
    assert said == {tasks[0]: ["SUCCESS", 5], tasks[1]: ["FAILURE", ["ValueError", ["boom", 42]]]}


def test_our_client_is_answered_by_a_celery_worker_into_redis(celery_python, amqp_url, redis_url):
    celery = CelerySide(celery_python, redis_url, broker=amqp_url)
    app = App("fleet", broker=amqp_url, backend=redis_url, fleet="celery")
    results = [app.send_task("wapp.add", (2, 3)), app.send_task("wapp.fail")]
    assert results[0].state == "PENDING"
    try:
        with celery.worker():
            assert results[0].get(timeout=30) == 5
            with pytest.raises(ValueError, match="boom") as caught:
                results[1].get(timeout=30)
            assert caught.value.args == ("boom", 42)
    finally:
        app.close()
