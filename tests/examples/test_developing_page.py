"""The commands of docs/how-to/developing.md run."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.examples.test_examples import environment

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "developing.md").read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) for line in block.splitlines()
]
TASKS = "from celeriac import App\napp = App()\n\n@app.task\ndef add(x, y):\n    return x + y\n"


def start(line, folder, **streams):
    name, *words = line.split()
    assert name == "celeriac"
    (folder / "tasks.py").write_text(TASKS)
    command = [sys.executable, "-m", "celeriac", *words]
    return subprocess.Popen(command, cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE, **streams)


@pytest.mark.parametrize("line", [line for line in LINES if "worker" not in line])
def test_a_command_prints(line, tmp_path):
    with start(line, tmp_path, stdin=subprocess.PIPE) as process:
        out, _ = process.communicate("print(add(4, 4))\n", timeout=30)
    assert process.returncode == 0
    assert out == "8\n" if "shell" in line else len(out.splitlines()) > 10


def test_the_reloading_worker(tmp_path):
    (line,) = [line for line in LINES if "worker" in line]
    with start(line, tmp_path) as process:
        assert any(said.endswith("ready.\n") for said in process.stdout)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 0
