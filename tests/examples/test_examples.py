"""Every program in examples/ runs, and prints what it is there to show."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 30

PRINTS = {
    "bulk.py": ["sum of squares: 332833500", "words: HELLO WORLD"],
    "lifespan.py": ["service opened", "prices: [4, 6, 6]", "waited for one: True", "service closed"],
    "routing.py": [
        "orders by order.placed: order 17 was placed",
        "audit by order.placed: order 17 was placed",
        "orders by order.paid: paid by card",
        "audit by order.paid: paid by card",
        "audit by customer.left: good bye",
    ],
    "submit.py": ["one: 42", "primes: 2 3 5 7 11 13 17 19", "powers: [1, 2, 4, 8, 16]", "error: division by zero"],
    "typed.py": [
        "Invoice 7 7.30 €",
        "Line 3.20",
        "{'2026-05-06': 1}",
        "__main__.bill: order.lines[0].price: expected Decimal, not float",
        "ValidationError",
    ],
}
FOLDERS = {"quickstart", "testing", "transport-nats"}  # the last is tested in integration/: it needs a server
IN_ANY_ORDER = {"routing.py"}  # two queues


def environment():
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CELERIAC_", "PYTHON"))}
    return {**kept, "PYTHONWARNINGS": "error"}


def run(*program, cwd):
    done = subprocess.run(
        [sys.executable, *program],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def test_each_program_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == PRINTS.keys()
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"} == FOLDERS


@pytest.mark.parametrize("name", PRINTS)
def test_a_program_prints(name, tmp_path):
    order = sorted if name in IN_ANY_ORDER else list
    assert order(run(EXAMPLES / name, cwd=tmp_path)) == order(PRINTS[name])
    assert not list(tmp_path.iterdir())


@contextlib.contextmanager
def worker(folder, *options, app="tasks"):
    process = subprocess.Popen(
        [sys.executable, "-m", "celeriac", "-A", app, "worker", "-c", "1", *options],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert any(line.endswith("ready.\n") for line in process.stdout)
        yield
    finally:
        process.terminate()
        code = process.wait(PATIENCE)
        process.stdout.close()
    assert code == 0


def test_the_quickstart(tmp_path):
    for path in (EXAMPLES / "quickstart").glob("*.py"):
        shutil.copy(path, tmp_path)
    with worker(tmp_path):
        printed = run("send.py", cwd=tmp_path)
    assert printed[0].startswith("sent ")
    assert printed[1:] == ["4 + 4 = 8", "a second later, 2 + 3 = 5"]
    assert (tmp_path / "celeriac.db").exists()


def test_the_tests_of_a_shop(tmp_path):
    for path in (EXAMPLES / "testing").glob("*.py"):
        shutil.copy(path, tmp_path)
    printed = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert printed[-1].startswith("5 passed")
