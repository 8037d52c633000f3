"""The programs of docs/how-to/testing.md do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.examples.test_examples import run

from celeriac import App
from celeriac.testing import Sandbox, celery_fixtures, plugin

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to" / "testing.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")


@pytest.fixture
def folder(tmp_path):
    for name, text in PROGRAMS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_every_program_has_a_name():
    assert len(PROGRAMS) == PAGE.count("```python")


@pytest.mark.parametrize("name", ["sandbox.py", "eager.py"])
def test_a_program_runs(folder, name):
    assert run(name, cwd=folder) == []


def test_the_tests_pass(folder):
    tests = [name for name in PROGRAMS if name.startswith("test_")]
    count = sum(len(re.findall(r"^ *def test_", PROGRAMS[name], re.MULTILINE)) for name in tests)
    assert run(*PYTEST, *tests, cwd=folder)[-1].startswith(f"{count} passed")


def test_unittest_needs_no_pytest(folder):
    program = """
import sys, unittest
result = unittest.TestResult()
unittest.defaultTestLoader.loadTestsFromName("test_with_unittest").run(result)
print(result.testsRun, result.errors, result.failures, "pytest" in sys.modules)
"""
    assert run("-c", program, cwd=folder) == ["1 [] [] False"]


def test_celery_s_names(folder):
    assert run(*PYTEST, cwd=folder / "celery")[-1].startswith("2 passed")


def test_the_shown_message_is_the_message():
    app = App("shop", broker="memory://")

    @app.task(name="shop.charge")
    def charge(order, cents): ...

    @app.task(name="shop.send_receipt")
    def send_receipt(order): ...

    with Sandbox(app) as box:
        charge.delay("order-17", 4300)
        send_receipt.apply_async(("order-16",), countdown=600)
        with pytest.raises(AssertionError) as failed:
            box.assert_enqueued(charge, args=("order-17", 4200))
    shown = "\n".join(f"      {line}" for line in str(failed.value).splitlines())
    assert f"{shown}\n" in PAGE


@pytest.mark.parametrize("module", [plugin, celery_fixtures])
def test_every_fixture_stands_in_the_page(module):
    fixtures = [name for name in vars(module) if name.startswith(("celeriac_", "celery_"))]
    assert fixtures
    assert not [name for name in fixtures if f"`{name}`" not in PAGE]
