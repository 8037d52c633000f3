"""Types and functions by value through real worker processes: where a pickle is loaded, and where it never is."""

from __future__ import annotations

import os
import signal
import sys
from concurrent import futures
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from witness import until
from worker_process import PROGRAMS, WorkerProcess

from celeriac.dead import DeadLetters
from celeriac.errors import TaskError, UntrustedMessage, ValidationError

PATIENCE = 30
KEY, OTHER = "the key of the shop, 32 bytes long", "another key, as long as the first"


class Trace:
    """Whose pickle writes the process that loads it into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        code = f"import os; open({str(self.path)!r}, 'a').write(f'{{os.getpid()}}\\n')"
        return exec, (code,)

    def loaded_by(self) -> list[int]:
        return [int(line) for line in self.path.read_text().split()] if self.path.exists() else []


@pytest.fixture(params=["sqlite", "amqp", "redis"])
def broker(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/celeriac.db"
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def trace(tmp_path):
    return Trace(tmp_path / "trace")


@pytest.fixture
def carrying(broker, monkeypatch):
    """The module of the tasks, imported here for this broker."""
    monkeypatch.setenv("CARRYING_BROKER", broker)
    monkeypatch.setenv("CARRYING_KEYS", KEY)
    monkeypatch.syspath_prepend(str(PROGRAMS))
    sys.modules.pop("carrying", None)
    import carrying

    yield carrying
    carrying.app.close()


def worker(broker, keys=KEY):
    prefix = ["env", f"CARRYING_KEYS={keys}"]
    return WorkerProcess("carrying", broker, "-c", "1", variable="CARRYING_BROKER", prefix=prefix)


def submitted(app, fn, *args, **options):
    """Return the message that `App.submit` would send."""
    name, given, kwargs, defaults, task = app._call(fn, args, {}, options)
    return app.sender._message(name, given, kwargs, defaults, task)


def publish(app, message):
    (receipt,) = app.client.publisher.publish([message]).result(PATIENCE)
    assert receipt.ok
    return app.AsyncResult(message.id)


def test_values_come_back_as_what_they_are(carrying, broker):
    lines = [carrying.Line(Decimal("1.50")), carrying.Line(Decimal(2), carrying.Size.LARGE)]
    with worker(broker) as running:
        running.ready()
        invoice = carrying.bill.delay(lines, Path("/a/spring")).get(timeout=PATIENCE)
        assert invoice == carrying.Invoice(lines=lines, note="spring: 3.50")
        assert carrying.double.delay({7: invoice}).get(timeout=PATIENCE) == {7: lines * 2}
        with pytest.raises(ValidationError, match=r"carrying.bill: lines\[1\]\.price: expected Decimal, not str"):
            carrying.bill.delay([lines[0], carrying.Line("2")], Path())
        wrong = carrying.app.send_task("carrying.double", [{"7": {"lines": [{"price": None}]}}])
        with pytest.raises(ValidationError, match=r"carrying.double: invoices\['7'\]\.lines\[0\]\.price: "):
            wrong.get(timeout=PATIENCE)
        assert carrying.bill.delay([], Path()).get(timeout=PATIENCE).lines == [], "the worker lives"


def test_a_pickle_is_loaded_in_a_child_and_nowhere_else(carrying, broker, trace):
    with worker(broker) as running:
        running.ready()
        assert carrying.app.submit(lambda x, _: x + 1, 41, trace).get(timeout=PATIENCE) == 42
        child = carrying.app.submit(os.getpid).get(timeout=PATIENCE)
        assert trace.loaded_by() == [child]
        assert child != running.process.pid


def test_what_is_forged_moved_or_truncated_is_set_aside_and_loaded_nowhere(carrying, broker, trace):
    app = carrying.app
    message = submitted(app, print, trace, expires=3600)
    own = message.headers["celeriac"]

    def headers(number, **changed):
        return replace(message, id=f"bad-{number}", headers={**message.headers, "id": f"bad-{number}", **changed})

    bad = [
        headers(1),  # moved into the envelope of another id
        headers(2, celeriac={}),
        replace(message, headers={**message.headers, "celeriac": {**own, "signature": own["signature"][:-2]}}),
        headers(4, celeriac={**own, "signature": "00" * 32}),
        headers(5, expires=None),
        headers(6, task="celeriac.submit_async"),
    ]
    with worker(broker) as running:
        running.ready()
        for result in [publish(app, each) for each in bad]:
            with pytest.raises(TaskError, match=r"is a dead letter \(untrusted\)"):
                result.get(timeout=PATIENCE)
        assert app.submit(lambda: 42).get(timeout=PATIENCE) == 42, "the worker lives"
        assert running.process.poll() is None
        until(lambda: len(DeadLetters(app).peek()) == len(bad))
        assert KEY not in "\n".join(running.lines)
    assert trace.loaded_by() == []
    expected = {(each.id, "untrusted") for each in bad}
    until(lambda: {(letter.id, letter.reason) for letter in DeadLetters(app).peek()} == expected)  # once those are back


def test_a_class_that_cannot_be_found_makes_a_dead_letter(carrying, broker, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("class Thing: ...")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]

    with worker(broker) as running:
        running.ready()
        result = carrying.app.submit(print, only_here.Thing())
        with pytest.raises(TaskError, match=r"\(undecodable\): the pickle cannot be read: ModuleNotFoundError"):
            result.get(timeout=PATIENCE)
        assert carrying.app.submit(lambda: 42).get(timeout=PATIENCE) == 42


def test_the_signature_lives_through_a_child_s_death_and_a_retry(carrying, broker, tmp_path):
    mark = tmp_path / "mark"

    def die_once():
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"

    def fail_once():
        from celeriac import Retry, current_task

        if current_task().attempt == 1:
            raise Retry(countdown=0)
        return current_task().attempt

    with worker(broker) as running:
        running.ready()
        assert carrying.app.submit(die_once).get(timeout=PATIENCE) == "alive"
        assert carrying.app.submit(fail_once).get(timeout=PATIENCE) == 2


def test_keys_are_rotated_and_what_died_of_it_is_sent_back(carrying, broker):
    app = carrying.app
    with worker(broker, keys=OTHER) as running:
        running.ready()
        result = app.submit(lambda: 42)
        with pytest.raises(TaskError, match="untrusted"):
            result.get(timeout=PATIENCE)
        until(lambda: DeadLetters(app).peek())  # the result is stored before the message is settled
    with worker(broker, keys=f"{OTHER};{KEY}") as running:  # signs with the new key, still accepts the old one
        running.ready()
        (letter,) = DeadLetters(app).replay(everything=True)
        assert letter.id == result.id
        running.until(f"{letter.task}[{letter.id}] succeeded")
        if not broker.startswith("amqp"):  # a mailbox has nothing for a second look
            with pytest.raises(UntrustedMessage, match="no key of ours has signed this result"):
                app.AsyncResult(result.id).get(timeout=PATIENCE)  # this caller has the old key alone


def test_an_executor_of_processes(carrying, broker):
    with worker(broker) as running, carrying.app.executor() as executor:
        running.ready()
        assert list(executor.map(lambda n: n * n, range(20), chunksize=6)) == [n * n for n in range(20)]
        failing = executor.submit(lambda: 1 / 0)
        assert isinstance(failing.exception(PATIENCE), ZeroDivisionError)
        done = futures.as_completed([executor.submit(lambda n=n: n) for n in range(5)], PATIENCE)
        assert sorted(future.result() for future in done) == list(range(5))
