"""A destructor that runs at the worst moment of an operation neither waits for its own thread nor cuts it in two."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from celeriac_memory.guarded import Guarded, locked, locked_or_late

PATIENCE = 10


class Ledger(Guarded):
    """Tells ``visit`` each moment at which something else could happen in its thread."""

    def __init__(self, visit):
        super().__init__()
        self.visit = visit
        self.lines = []
        self._lock, self._late = Lock(self._lock, visit), Late(visit)

    @locked
    def write(self):
        self.lines.append("begin")
        self.visit("within")
        self.lines.append("end")

    @locked_or_late
    def tidy(self):
        self.lines.append("tidy")


class Lock:
    def __init__(self, lock, visit):
        self._lock = lock
        self._visit = visit

    def __enter__(self):
        self._lock.acquire()
        self._visit("taken")

    def __exit__(self, *_):
        self._visit("before it is free")
        self._lock.release()
        self._visit("free")


class Late(deque):
    def __init__(self, visit):
        super().__init__()
        self._visit = visit

    def __bool__(self):
        waiting = len(self) > 0
        self._visit(f"seen that {waiting} waits")  # and what comes now was not seen
        return waiting


@pytest.fixture(params=["taken", "within", "seen that False waits", "before it is free", "free"])
def moment(request):
    return request.param


@pytest.mark.parametrize("nth", [1, 2])
def test_a_destructor_at_the_worst_moment(moment, nth):
    seen = []

    def visit(now):
        seen.append(now)
        if (now, seen.count(now)) == (moment, nth):
            ledger.tidy()

    ledger = Ledger(visit)
    ledger.write()
    ledger.write()
    assert seen.count(moment) >= nth
    assert ledger.lines.count("tidy") == 1, "it waits for the next operation"
    ledger.lines.remove("tidy")
    assert ledger.lines == ["begin", "end", "begin", "end"]
    assert not ledger._busy


def test_it_cuts_no_operation_in_two():
    def visit(now):
        if now == "within":
            ledger.tidy()

    ledger = Ledger(visit)
    ledger.write()
    assert ledger.lines == ["begin", "end", "tidy"]


def test_another_thread_waits_for_the_end():
    inside, go_on = threading.Event(), threading.Event()

    def visit(now):
        if now == "within":
            inside.set()
            assert go_on.wait(PATIENCE)

    ledger = Ledger(visit)
    writing = threading.Thread(target=ledger.write)
    tidying = threading.Thread(target=ledger.tidy)
    writing.start()
    assert inside.wait(PATIENCE)
    tidying.start()
    go_on.set()
    writing.join(PATIENCE)
    tidying.join(PATIENCE)
    assert ledger.lines == ["begin", "end", "tidy"]
