"""Tells of a worker's health: in a file, and by HTTP where it is asked to (`celeriac.worker.probes`)."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.worker import health as told
from celeriac.worker.health import BEAT_SECONDS, Health, runtime_dirs

if TYPE_CHECKING:
    from pathlib import Path

    from celeriac.worker.worker import Worker

logger = logging.getLogger("celeriac.worker")


class Reporter:
    """Beats while the worker's loop turns.

    Attributes:
        port: where the health is served; ``None`` where it is not.
    """

    def __init__(self, worker: Worker, folder: Path | None = None) -> None:
        """Tell of ``worker``, in ``folder`` or where `celeriac.worker.health.runtime_dirs` says."""
        self._worker = worker
        self._folder = folder or runtime_dirs()[0]
        self._beat = float("-inf")
        self._failed = False
        self.port: int | None = None

    @property
    def health(self) -> Health:
        """How the worker is now."""
        return replace(self._worker.health(), beat=self._beat, port=self.port)

    async def run(self) -> None:
        """Tell until cancelled; a worker whose file cannot be written works all the same."""
        self._tell_of_a_namesake()
        try:
            while True:
                self.tell()
                await self._worker.app.clock.sleep(BEAT_SECONDS)
        finally:
            told.forget(self.health, self._folder)

    def tell(self) -> None:
        """Tell how the worker is now."""
        self._beat = self._worker.app.clock.monotonic()
        try:
            told.write(self.health, self._folder)
        except OSError as error:
            if not self._failed:
                logger.warning("celeriac health will not know of this worker: %s", error)
            self._failed = True

    def _tell_of_a_namesake(self) -> None:
        mine = self._worker.health()
        other = told.read(told.file_of(mine.node, self._folder))
        if other is None or other.pid == mine.pid or other.not_live(mine.beat) or not told.is_alive(other.pid):
            return
        if other.phase == told.STOPPING:  # we take its place
            return
        logger.warning(
            "another worker on this machine is called %s (pid %d): celeriac health knows one of them only; "
            "give each its own name with -n",
            other.node,
            other.pid,
        )
