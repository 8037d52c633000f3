"""Dead letters on RabbitMQ: the commands and the program's side, on quorum and on classic queues."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import App, Queue
from celeriac.cli import exits, main
from celeriac.dead import DeadLetters, DeadMessage
from celeriac.errors import DeadLetterNotFound
from celeriac.message import Dead, DeadLetter, Message, Settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PATIENCE = 20.0
REPLAY_ALL = """
import sys
from celeriac import App, Queue
from celeriac.dead import DeadLetters
DeadLetters(App("shop", broker=sys.argv[1], queues=[Queue(sys.argv[2])]), [sys.argv[2]]).replay(everything=True)
"""


@pytest.fixture(params=[1, 10], ids=["quorum", "classic"])
def queue(request: pytest.FixtureRequest) -> Queue:
    return Queue(f"dead-{uuid.uuid4().hex[:8]}", priorities=request.param)


@pytest.fixture
def app(amqp_vhost: str, queue: Queue) -> Iterator[App]:
    app = App("shop", broker=amqp_vhost, queues=[queue])
    yield app
    for name in (queue.name, f"{queue.name}.dead"):
        app.client.portal.run(app.client.connection.transport.delete(name))
    app.close()


@pytest.fixture
def letters(app: App, queue: Queue) -> DeadLetters:
    return DeadLetters(app, [queue.name])


@pytest.fixture
def bury(app: App, queue: Queue) -> Callable[..., list[str]]:
    def die(count: int, **options: Any) -> list[str]:
        ids = [app.send_task("shop.charge", [n], queue=queue.name, **options).id for n in range(count)]

        async def kill() -> None:
            async with app.client.connection.transport.consume([queue.name], prefetch=count) as consumer:
                left = set(ids)
                while left:
                    found = await consumer.receive(count, PATIENCE)
                    assert found
                    why = Dead(DeadLetter(reason="crashed", attempts=3, worker="w@there"))
                    await consumer.settle([Settlement(each.token, why) for each in found])
                    left -= {each.message.id for each in found}

        app.client.portal.run(kill())
        return ids

    return die


def ids_of(letters: Sequence[DeadMessage]) -> list[str]:
    return [letter.id for letter in letters]


def waiting(app: App, name: str) -> Sequence[Message]:
    return app.client.portal.run(app.client.connection.transport.peek(name, 10_000))


def test_looking_takes_nothing_away(letters: DeadLetters, bury: Callable[..., list[str]]) -> None:
    """A quorum queue takes back late what was looked at or walked over: the next one to look would find nothing."""
    ids = bury(5)
    for _ in range(100):
        assert ids_of(letters.peek()) == ids
    for _ in range(3):
        with pytest.raises(DeadLetterNotFound):
            letters.replay(["nothing"])
        assert ids_of(letters.peek()) == ids


def test_there_and_back(app: App, queue: Queue, letters: DeadLetters, bury: Callable[..., list[str]]) -> None:
    assert letters.peek() == []
    assert letters.replay(everything=True) == []
    priority = queue.priorities - 1
    ids = bury(5, priority=priority)
    assert ids_of(letters.peek()) == ids
    with pytest.raises(DeadLetterNotFound):
        letters.replay([ids[2], "nothing"])
    assert ids_of(letters.peek()) == ids
    assert ids_of(letters.replay(ids[2])) == [ids[2]]
    assert letters.purge(ids[0]) == 1
    assert ids_of(letters.replay(task="shop.charge", limit=1)) == [ids[1]]
    assert ids_of(letters.peek()) == ids[3:]
    assert [(each.id, each.priority) for each in waiting(app, queue.name)] == [(ids[2], priority), (ids[1], priority)]
    assert letters.purge(everything=True) == 2


def test_the_commands_with_a_broker_alone(
    amqp_vhost: str, queue: Queue, app: App, bury: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """They know nothing of the queue: neither its type nor its priorities."""
    one, two = bury(2, priority=queue.priorities - 1)

    def run(action: str, *argv: str) -> tuple[int, str]:
        code = main(["dead", action, *argv, "-b", amqp_vhost, "--queue", queue.name])
        return code, capsys.readouterr().out

    assert [row["id"] for row in json.loads(run("list", "--json")[1])] == [one, two]
    assert run("replay", one) == (exits.OK, f"{one}: back in {queue.name}\n")
    (again,) = waiting(app, queue.name)
    assert (again.id, again.priority) == (one, queue.priorities - 1)
    assert run("show", two)[0] == exits.OK
    assert run("replay", one)[0] == exits.FAILED
    assert run("purge", "--all", "-f") == (exits.OK, "1 dead letters dropped\n")


def test_a_replay_that_is_killed_loses_nothing(
    amqp_vhost: str, queue: Queue, app: App, bury: Callable[..., list[str]]
) -> None:
    """Published, confirmed, then acked: what was between is there twice."""
    ids = set(bury(300))
    for attempt in range(3):
        with subprocess.Popen([sys.executable, "-c", REPLAY_ALL, amqp_vhost, queue.name]) as process:
            deadline = time.monotonic() + PATIENCE
            depth = app.client.connection.transport.depth
            before = app.client.portal.run(depth(queue.name)).ready
            while app.client.portal.run(depth(queue.name)).ready == before and process.poll() is None:
                assert time.monotonic() < deadline
            time.sleep(attempt * 0.01)
            process.kill()
        deadline = time.monotonic() + PATIENCE
        while True:  # the broker gives back what the dead connection held
            dead = [message.id for message in waiting(app, f"{queue.name}.dead")]
            sent = [message.id for message in waiting(app, queue.name)]
            if {*dead, *sent} == ids:
                break
            assert time.monotonic() < deadline, ids - {*dead, *sent}
        assert len(dead) + len(sent) <= len(ids) + 100 * (attempt + 1)  # a batch, at most, each time
