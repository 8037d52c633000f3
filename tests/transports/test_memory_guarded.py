"""A destructor that runs before any line of an operation neither waits for its own thread nor cuts it in two."""

from __future__ import annotations

import sys
import threading

import pytest

from celeriac_memory import guarded
from celeriac_memory.guarded import Guarded, locked, locked_or_late

PATIENCE = 10


class Ledger(Guarded):
    def __init__(self):
        super().__init__()
        self.lines = []

    @locked
    def write(self):
        self.lines.append("begin")
        self.lines.append("end")

    @locked_or_late
    def tidy(self):
        self.lines.append("tidy")


def lines_of(call, at=None, then=None):
    """Run ``call``; count the lines of the guard and the ledger, and call ``then`` before number ``at``."""
    count = 0

    def trace(frame, event, _arg):
        nonlocal count
        if frame.f_code.co_filename not in {guarded.__file__, __file__}:
            return None
        if event == "line":
            count += 1
            if count == at:
                sys.settrace(None)
                then()
        return trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)
    return count


def in_time(call):
    """Run ``call`` in a thread that may be stuck for ever."""
    failures = []

    def run():
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it waits for its own thread"
    assert not failures, failures


@pytest.mark.parametrize("first", ["write", "tidy"])
def test_a_destructor_before_any_line(first):
    total = lines_of(getattr(Ledger(), first))
    assert total >= 10
    for at in range(1, total + 1):
        ledger = Ledger()
        in_time(lambda at=at, ledger=ledger: lines_of(getattr(ledger, first), at, ledger.tidy))
        expected = {"write": ("begin end tidy", "tidy begin end"), "tidy": ("tidy tidy",)}[first]
        assert " ".join(ledger.lines) in expected, at
        assert not ledger._busy


def test_another_thread_waits_for_the_end():
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Ledger):
        @locked
        def write(self):
            self.lines.append("begin")
            inside.set()
            assert go_on.wait(PATIENCE)
            self.lines.append("end")

    ledger = Slow()
    writing = threading.Thread(target=ledger.write)
    tidying = threading.Thread(target=ledger.tidy)
    writing.start()
    assert inside.wait(PATIENCE)
    tidying.start()
    go_on.set()
    writing.join(PATIENCE)
    tidying.join(PATIENCE)
    assert ledger.lines == ["begin", "end", "tidy"]
