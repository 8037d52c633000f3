"""How much memory this process uses."""

from __future__ import annotations

import os
import resource
from pathlib import Path

_STATM = Path("/proc/self/statm")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class MemoryLimit:
    """Whether this process is above a limit. Asking takes 2 us."""

    def __init__(self, kib: int) -> None:
        """Watch for ``kib`` KiB of resident memory (its peak where there is no ``/proc``); 0 is no limit."""
        self._kib = kib
        self._statm = os.open(_STATM, os.O_RDONLY) if kib and _STATM.exists() else None

    def exceeded(self) -> int:
        """Return the KiB in use if they are above the limit, else 0."""
        if not self._kib:
            return 0
        used = self._used()
        return used if used > self._kib else 0

    def _used(self) -> int:
        if self._statm is None:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # in bytes, on macOS
        return int(os.pread(self._statm, 128, 0).split()[1]) * _PAGE_KIB
