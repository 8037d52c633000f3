"""Counts what Python executes: bytecode instructions and calls, which no busy machine can change.

Counted is everything below a call but the harness itself: the files of this folder and the loop that stands in for
asyncio's. What C code does inside one call is not seen, only that it was called.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac.testing import simulation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

HARNESS = (str(Path(__file__).parent), str(Path(simulation.__file__).parent))


@dataclass(slots=True)
class Cost:
    """What was executed."""

    bytecodes: int = 0
    calls: int = 0


@contextmanager
def counting(cost: Cost) -> Iterator[None]:
    """Add to ``cost`` what this thread executes in the block."""
    count = _by_monitoring if sys.version_info >= (3, 12) else _by_tracing
    with count(cost):
        yield


def _counts(code: CodeType, known: dict[CodeType, bool]) -> bool:
    if code not in known:
        known[code] = not code.co_filename.startswith(HARNESS)
    return known[code]


@contextmanager
def _by_monitoring(cost: Cost) -> Iterator[None]:
    monitoring, known = sys.monitoring, {}  # type: ignore[attr-defined,var-annotated] # of 3.12
    tool, events = monitoring.PROFILER_ID, monitoring.events

    def instruction(code: CodeType, _offset: int) -> Any:
        if not _counts(code, known):
            return monitoring.DISABLE
        cost.bytecodes += 1
        return None

    def call(code: CodeType, _offset: int, _callable: object, _first: object) -> Any:
        if not _counts(code, known):
            return monitoring.DISABLE
        cost.calls += 1
        return None

    monitoring.use_tool_id(tool, "celeriac")
    monitoring.restart_events()
    monitoring.register_callback(tool, events.INSTRUCTION, instruction)
    monitoring.register_callback(tool, events.CALL, call)
    monitoring.set_events(tool, events.INSTRUCTION | events.CALL)
    try:
        yield
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)


@contextmanager
def _by_tracing(cost: Cost) -> Iterator[None]:
    known: dict[CodeType, bool] = {}

    def entered(frame: FrameType, _event: str, _arg: object) -> Any:
        frame.f_trace_lines = False
        frame.f_trace_opcodes = _counts(frame.f_code, known)
        return executed

    def executed(_frame: FrameType, event: str, _arg: object) -> Any:
        if event == "opcode":
            cost.bytecodes += 1
        return executed

    def called(frame: FrameType, event: str, _arg: object) -> None:
        caller = frame if event == "c_call" else frame.f_back
        if event in {"call", "c_call"} and caller is not None and _counts(caller.f_code, known):
            cost.calls += 1

    sys.setprofile(called)
    sys.settrace(entered)
    try:
        yield
    finally:
        sys.settrace(None)
        sys.setprofile(None)
