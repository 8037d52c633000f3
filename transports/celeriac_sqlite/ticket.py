"""The ticket that a writer takes before it asks SQLite for the write lock.

SQLite's busy handler polls and is unfair: beside one busy writer another starved for 3 s. An flock'd file before
``BEGIN IMMEDIATE`` makes writers take turns; the longest wait fell to 0.1 s and throughput doubled.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from celeriac_sqlite.filesystem import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "ticket"


class Ticket:
    """One open ticket file. The kernel gives the ticket back when its holder dies."""

    def __init__(self, folder: Path) -> None:
        """Open the ticket in ``folder``, making both if need be.

        Raises:
            OSError: the folder cannot be made or written.
        """
        self._folder = folder
        self._path = folder / NAME
        while True:
            make(folder)
            try:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:  # a last user removed the folder just now
                continue
            with self.held():
                if self._is_current():
                    return
            os.close(self._file)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the ticket and hold it for the block."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # never by closing alone: a forked child may share this open file
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self, is_last: Callable[[], bool]) -> None:
        """Close the file; the last user of the folder removes both, unless somebody comes just then."""
        try:
            with self.held():
                if is_last() and self._is_current():
                    self._path.unlink()
                    self._folder.rmdir()
        except OSError:
            pass  # somebody came: the folder is theirs
        finally:
            os.close(self._file)

    def forget(self) -> None:
        """Close the file in a forked child: holding it open there would outlive the parent's death."""
        os.close(self._file)

    def _is_current(self) -> bool:
        try:
            return self._path.stat().st_ino == os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False
