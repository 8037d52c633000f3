"""Signals while a command runs."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


@contextlib.contextmanager
def handled(by: Callable[[int, FrameType | None], None], *numbers: int) -> Iterator[None]:
    """Let ``by`` handle these signals while the block lasts; then whoever did before. On the main thread alone."""
    before = {number: signal.signal(number, by) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
