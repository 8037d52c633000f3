"""Dead letters by program: looked at, sent back, dropped, on brokers that need no server."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import App, Queue, Reject
from celeriac.dead import DeadLetters, DeadMessage
from celeriac.dead import walk as walking
from celeriac.errors import ConfigurationError, DeadLetterNotFound, PublishError
from celeriac.message import Dead, DeadLetter, Message, Settlement
from celeriac.protocol import OwnTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

PATIENCE = 20.0


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    broker = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/queue.db"
    app = App("shop", broker=broker, queues=[Queue("mail", priorities=10), Queue("empty")])
    yield app
    app.close()


@pytest.fixture
def bury() -> Callable[..., list[str]]:
    """Send tasks of some name and let them die, unrun; returns their ids, first dead first."""

    def die(app: App, count: int = 1, *, task: str = "shop.charge", queue: str = "mail", **options: Any) -> list[str]:
        ids = [app.send_task(task, [n], queue=queue, **options).id for n in range(count)]

        async def kill() -> None:
            transport = app.client.connection.transport
            async with transport.consume([queue], prefetch=count) as consumer:
                left = set(ids)
                while left:
                    found = await consumer.receive(count, PATIENCE)
                    assert found
                    why = Dead(DeadLetter(reason="crashed", detail="signal 9", attempts=3, worker="w@there"))
                    await consumer.settle([Settlement(each.token, why) for each in found])
                    left -= {each.message.id for each in found}

        app.client.portal.run(kill())
        return ids

    return die


def ids_of(letters: Sequence[DeadMessage]) -> list[str]:
    return [letter.id for letter in letters]


def waiting(app: App, queue: str = "mail") -> Sequence[Message]:
    return app.client.portal.run(app.client.connection.transport.peek(queue, 10_000))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_is_told_of_a_dead_letter(app: App, bury: Callable[..., list[str]]) -> None:
    ids = bury(app, 2)
    letters = DeadLetters(app).peek()
    assert ids_of(letters) == ids
    letter = letters[0]
    assert (letter.task, letter.reason, letter.detail) == ("shop.charge", "crashed", "signal 9")
    assert (letter.attempts, letter.worker, letter.queue, letter.origin) == (3, "w@there", "mail", "mail")
    assert letter.at is not None
    assert abs(datetime.now(UTC) - letter.at).total_seconds() < PATIENCE
    assert ids_of(DeadLetters(app).peek(limit=1)) == ids[:1]
    assert ids_of(DeadLetters(app, ["empty", "nowhere"]).peek()) == []
    assert ids_of(DeadLetters(app).peek()) == ids


@pytest.mark.parametrize(
    "headers", [{}, {"celeriac": 7}, {"celeriac": {"dead": [1]}}, {"celeriac": {"dead": {"at": 3}}}]
)
def test_a_strangers_dead_letter_may_be_anything(headers: dict[str, Any]) -> None:
    letter = DeadMessage(Message(id="x", headers={"task": 5, **headers}), "mail")
    assert (letter.task, letter.reason, letter.detail, letter.attempts, letter.worker) == ("", "", "", 0, "")
    assert letter.at is None
    assert letter.sent_back(datetime.now(UTC)).routing_key == "mail"


def test_a_dead_letter_goes_back_as_it_was(app: App, bury: Callable[..., list[str]]) -> None:
    (dead,) = bury(app, priority=7, headers={"trace": "t1"})
    before = DeadLetters(app).peek()[0].message
    assert ids_of(DeadLetters(app).replay(dead)) == [dead]
    (again,) = waiting(app)
    assert (again.id, again.body, again.priority, again.headers["trace"]) == (dead, before.body, 7, "t1")
    assert "dead" not in again.headers["celeriac"]
    (entry,) = OwnTable.from_headers(again.headers).history
    assert (entry["why"], entry["where"], entry["error"]) == ("replayed", "w@there", "crashed: signal 9")
    assert DeadLetters(app).peek() == []


def test_the_counters_begin_anew_and_attempts_and_history_stay() -> None:
    table = {"crashes": 3, "accused": 1, "lost": 2, "history": [{"why": "retry", "error": "x"}], "dead": {"queue": "a"}}
    letter = DeadMessage(Message(id="x", headers={"task": "t", "retries": 2, "celeriac": table}), "b")
    message = letter.sent_back(datetime.now(UTC))
    own = OwnTable.from_headers(message.headers)
    assert (own.crashes, own.accused, own.lost, message.headers["retries"]) == (0, 0, 0, 2)
    assert [entry["why"] for entry in own.history] == ["retry", "replayed"]
    assert (message.exchange, message.routing_key, message.mandatory) == ("", "a", True)


def test_by_task_and_all_and_at_most_so_many(app: App, bury: Callable[..., list[str]]) -> None:
    charges, mails = bury(app, 3), bury(app, 2, task="shop.mail", queue="empty")
    letters = DeadLetters(app)
    assert letters.replay(task="no.such") == []
    assert ids_of(letters.replay(task="shop.charge", limit=2)) == charges[:2]
    assert ids_of(letters.peek()) == [charges[2], *mails]
    assert ids_of(letters.replay(everything=True)) == [charges[2], *mails]
    assert {message.id for message in waiting(app)} == set(charges)
    assert {message.id for message in waiting(app, "empty")} == set(mails)
    assert letters.replay(everything=True) == []


def test_ids_of_several_queues_go_all_or_none(app: App, bury: Callable[..., list[str]]) -> None:
    ids = bury(app, 3) + bury(app, 3, queue="empty")
    letters = DeadLetters(app)
    with pytest.raises(
        DeadLetterNotFound, match=r"^no dead letter nothing in celeriac\.dead, mail\.dead, empty\.dead; nothing"
    ) as caught:
        letters.replay([ids[4], "nothing", ids[1]])
    assert ids[1] not in str(caught.value)
    with pytest.raises(DeadLetterNotFound):
        letters.purge([ids[4], "nothing"])
    assert set(ids_of(letters.peek())) == set(ids)
    assert set(ids_of(letters.replay([ids[4], ids[1]]))) == {ids[1], ids[4]}
    assert set(ids_of(letters.peek())) == set(ids) - {ids[1], ids[4]}


def test_purging(app: App, bury: Callable[..., list[str]]) -> None:
    ids = bury(app, 5) + bury(app, 2, task="shop.mail")
    letters = DeadLetters(app)
    assert letters.purge(ids[2]) == 1
    assert letters.purge(task="shop.charge", limit=2) == 2
    assert ids_of(letters.peek()) == [ids[3], ids[4], ids[5], ids[6]]
    assert letters.purge(task="shop.mail") == 2
    assert letters.purge(everything=True) == 2
    assert letters.purge(everything=True) == 0
    assert waiting(app) == []


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"ids": "a", "task": "t"},
        {"task": "t", "everything": True},
        {"task": "t", "limit": 0},
        {"ids": "a", "limit": 1},
    ],
)
def test_a_choice_that_cannot_be_meant(app: App, choice: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DeadLetters(app).replay(**choice)
    with pytest.raises(ConfigurationError):
        DeadLetters(app).purge(**choice)


def test_a_queue_that_is_gone_keeps_its_dead_letters(app: App, bury: Callable[..., list[str]]) -> None:
    ids = bury(app, 2)
    app.client.portal.run(app.client.connection.transport.delete("mail"))
    with pytest.raises(PublishError, match="cannot go back to mail, and stay"):
        DeadLetters(app).replay(everything=True)
    assert ids_of(DeadLetters(app).peek()) == ids


def test_from_coroutines(app: App, bury: Callable[..., list[str]]) -> None:
    ids = bury(app, 3)

    async def use() -> None:
        letters = DeadLetters(app)
        assert ids_of(await letters.apeek()) == ids
        assert ids_of(await letters.areplay(ids[0])) == ids[:1]
        assert await letters.apurge(everything=True) == 2

    asyncio.run(use())


def test_that_there_may_be_more_is_told(
    app: App, bury: Callable[..., list[str]], caplog: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(walking, "MOST", 2)
    monkeypatch.setattr("celeriac.dead.letters.MOST", 2)
    ids = bury(app, 4)
    with pytest.raises(DeadLetterNotFound):
        DeadLetters(app).replay(ids[3])
    assert "looked at 2 dead letters of mail; there may be more" in caplog.text
    assert ids_of(DeadLetters(app).replay(everything=True)) == ids[:2]


@pytest.mark.parametrize("told", [True, False])
def test_a_replay_runs_though_the_store_has_its_failure(app: App, *, told: bool, monkeypatch: Any) -> None:
    """The store of whoever replays may be another than the worker's; a failure left there is no sign of a duplicate."""
    good, charged = threading.Event(), threading.Event()

    @app.task(queue="mail")
    def charge() -> str:
        if not good.is_set():
            raise Reject("no money")
        charged.set()
        return "charged"

    with app.run_worker(pool="thread", queues=["mail"]):
        result = charge.delay()
        with pytest.raises(Exception, match="no money"):
            result.get(timeout=PATIENCE)
        until(lambda: bool(DeadLetters(app).peek()))
        good.set()
        if not told:
            nothing = lambda ids: asyncio.sleep(0)  # noqa: E731
            monkeypatch.setattr(app.client.connection.store, "forget", nothing)
        assert ids_of(DeadLetters(app).replay(task=charge.name)) == [result.id]
        if told:
            assert app.AsyncResult(result.id).get(timeout=PATIENCE) == "charged"
        assert charged.wait(PATIENCE)
    assert DeadLetters(app).peek() == []


def test_what_dies_again_meanwhile_is_left_for_the_next_time(app: App, bury: Callable[..., list[str]]) -> None:
    ids = bury(app, 250)

    @app.task(name="shop.charge", queue="mail")
    def charge(n: int) -> None:
        raise Reject("still")

    with app.run_worker(pool="thread", queues=["mail"]):
        assert set(ids_of(DeadLetters(app).replay(everything=True))) == set(ids)


REPLAY_ALL = """
import sys
from celeriac import App, Queue
from celeriac.dead import DeadLetters
DeadLetters(App("shop", broker=sys.argv[1], queues=[Queue("mail", priorities=10)])).replay(everything=True)
"""


def test_a_replay_that_is_killed_loses_nothing_and_doubles_nothing(
    tmp_path: Path, bury: Callable[..., list[str]]
) -> None:
    """Where a move is one transaction; kill -9 at later and later moments after its first batch."""
    url = f"sqlite:///{tmp_path}/queue.db?lease=0.3"
    app = App("shop", broker=url, queues=[Queue("mail", priorities=10)])
    ids = set(bury(app, 1000))
    killed = 0
    for attempt in range(5):
        before = len(waiting(app))
        with subprocess.Popen([sys.executable, "-c", REPLAY_ALL, url]) as process:
            until(lambda: len(waiting(app)) > before or process.poll() is not None)  # noqa: B023 - called at once
            time.sleep(attempt * 0.003)
            process.kill()
        killed += process.returncode == -signal.SIGKILL and 0 < len(waiting(app)) < len(ids)
        # what the dead process held comes back within its lease
        until(lambda: len(waiting(app)) + len(waiting(app, "mail.dead")) >= len(ids))
        found = [message.id for queue in ("mail", "mail.dead") for message in waiting(app, queue)]
        assert sorted(found) == sorted(ids)
        if len(waiting(app)) == len(ids):
            break
    assert killed
    app.close()
