"""No tick is lost: not among threads, not after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import ticks

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, threading
from benchmarks.ticks import tick

def many():
    for _ in range(500):
        tick()

tick()
for _ in range(2):
    if os.fork() == 0:
        threads = [threading.Thread(target=many) for _ in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        os._exit(0)
[os.wait() for _ in range(2)]
"""


def test_every_tick_of_threads_and_forked_processes_is_counted(tmp_path):
    file = tmp_path / "ticks"
    ticks.create(file)
    environment = {**os.environ, ticks.VARIABLE: str(file), "PYTHONPATH": str(ROOT)}
    programs = [subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment) for _ in range(2)]
    assert [program.wait(30) for program in programs] == [0, 0]
    ran = ticks.read(file)
    assert ran.tasks == 2 * (1 + 2 * 3 * 500)
    assert len(ran.processes) == 2 * 3
    assert ran.last > 0
