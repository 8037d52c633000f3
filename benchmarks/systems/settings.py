"""What a system's module is told by the benchmark, through the environment."""

from __future__ import annotations

import json
import os
from typing import Any

URL = os.environ.get("BENCH_URL", "")
RESULTS_URL = os.environ.get("BENCH_RESULTS_URL", "")
SETTINGS: dict[str, Any] = json.loads(os.environ.get("BENCH_SETTINGS", "{}"))
RUN = os.environ.get("BENCH_RUN", "")


def named(queue: str) -> str:
    """Return a queue's name in this measurement: its own, where the braces stand.

    A quorum queue that was just deleted and is declared again under its name may answer with an internal error.
    """
    return queue.format(RUN)
