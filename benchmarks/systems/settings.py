"""What a system's module is told by the benchmark, through the environment."""

from __future__ import annotations

import json
import os
from typing import Any

URL = os.environ.get("BENCH_URL", "")
RESULTS_URL = os.environ.get("BENCH_RESULTS_URL", "")
SETTINGS: dict[str, Any] = json.loads(os.environ.get("BENCH_SETTINGS", "{}"))
PRODUCES = os.environ.get("BENCH_ROLE") == "producer"
