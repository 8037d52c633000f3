"""Every program of every page runs and prints what it says in ``# -> ...``, or says why it does not.

A program behind ``python`` is run, see `tests.docs.runner`. One behind ``python names`` needs a server, or is a part of
something: it is parsed, and what it says of celeriac is held against celeriac. Some pages have a test of their own.
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.names import unknown
from tests.docs.pages import BY_PATH, DOCS, PAGES, ROOT
from tests.examples.test_examples import environment

OWN_TEST = {
    ROOT / "README.md": "tests/examples/test_pages.py",
    DOCS / "tutorial" / "first-steps.md": "tests/examples/test_pages.py",
    DOCS / "how-to" / "testing.md": "tests/examples/test_testing_page.py",
    DOCS / "how-to" / "serializers.md": "tests/examples/test_serializers_page.py",
    DOCS / "how-to" / "writing-a-transport.md": "tests/examples/test_writing_a_transport.py",
    DOCS / "how-to" / "web-frameworks.md": "tests/docs/test_web_frameworks.py",
    DOCS / "reference" / "plugins.md": "tests/examples/test_plugins_page.py",
}
IN_PROCESSES = {"cancel.md", "time-limits.md"}  # what only a process can be: ended
SAYS = re.compile(r"# -> (.*)$", re.MULTILINE)
PYTHON = [page for page in PAGES if page.having("python") and page.path not in OWN_TEST]
RUNNER = Path(__file__).with_name("runner.py")


def runs(page):
    return [fence for fence in page.having("python") if "names" not in fence.marks]


@pytest.mark.parametrize("page", [page for page in PYTHON if runs(page)], ids=str)
def test_programs_print_what_they_say(page, tmp_path):
    in_processes = page.path.name in IN_PROCESSES
    worker = {"pool": "process" if in_processes else "thread", "concurrency": 2}
    broker = None if in_processes else "memory://"  # none is a SQLite file, which processes can reach
    programs = [{"name": each.name, "text": each.text, "line": each.line} for each in runs(page)]
    job = {"folder": str(tmp_path), "broker": broker, "worker": worker, "programs": programs}
    done = subprocess.run(
        [sys.executable, str(RUNNER)],
        input=json.dumps(job),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{page}:\n{done.stderr}"
    printed = dict(zip([f"{page}:{each.line}" for each in runs(page)], json.loads(done.stdout), strict=True))
    assert printed == {f"{page}:{each.line}": SAYS.findall(each.text) for each in runs(page)}


@pytest.mark.parametrize("page", [page for page in PYTHON if len(runs(page)) < len(page.having("python"))], ids=str)
def test_programs_that_need_a_server_say_what_is_there(page):
    for fence in page.having("python"):
        if "names" in fence.marks:
            assert not unknown(fence.text), f"{page}:{fence.line}"


def test_no_python_is_left_out():
    others = [
        (page, fence.language) for page in PAGES for fence in page.fences if fence.language in {"py", "pycon", ""}
    ]
    assert not others
    marks = {mark for page in PAGES for fence in page.having("python") for mark in fence.marks}
    assert marks <= {"names"}
    indented = [(str(page), text) for page in PAGES for text in page.indented if is_python(text)]
    assert not indented, "put it between backticks, with its language"


def is_python(text):
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Import | ast.ImportFrom | ast.Call) for node in ast.walk(tree))


@pytest.mark.parametrize("path", OWN_TEST, ids=lambda path: path.name)
def test_pages_that_are_left_to_another_test_have_one(path):
    assert BY_PATH[path].having("python")
    assert str(path.relative_to(ROOT)) in (ROOT / OWN_TEST[path]).read_text(encoding="utf-8").partition("\n")[0]


@pytest.mark.parametrize(
    "wrong",
    [
        "from celeriac import Appp",
        "app.taks",
        "App(brokr='memory://')",
        "add.apply_async((1,), countdwn=3)",
        "Queue('x', priority=3)",
        "result.gett()",
    ],
)
def test_a_wrong_name_is_noticed(wrong):
    assert unknown(wrong)
