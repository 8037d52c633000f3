"""No queue at all: runs N tasks in this process, one after the other, and says when it began and ended."""

from __future__ import annotations

import json
import sys
import time

from benchmarks.systems import bodies

if __name__ == "__main__":
    body = {"noop": bodies.noop, "sleep": bodies.sleep, "spin": bodies.spin}[sys.argv[1]]
    sys.stdin.readline()  # all begin together
    began = time.monotonic()
    for _ in range(int(sys.argv[2])):
        body()
    print(json.dumps({"began": began, "ended": time.monotonic()}))
