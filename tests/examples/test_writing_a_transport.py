"""docs/how-to/writing-a-transport.md: its example is put together, installed, and kept to the contract."""

import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from celeriac import transport_helpers
from celeriac.testing import TransportContract
from celeriac.testing.conformance.clauses import clauses_of
from celeriac.transport import CONTRACT_VERSION, Capabilities, Consumer, Transport

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to" / "writing-a-transport.md").read_text(encoding="utf-8")
PROGRAM = """
from celeriac import App

app = App("program", broker="shoebox://program", backend="memory://program")

@app.task
def add(x, y):
    return x + y

with app.run_worker(pool="thread"):
    print(sum(result.get(timeout=10) for result in add.delay_many([(i, i) for i in range(100)])))
app.close()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The example, as the page says it, installed for those who look there."""
    folder = tmp_path_factory.mktemp("shoebox")
    for text in re.findall(r"^```(?:python|toml)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        first, _, code = text.partition("\n")
        path, continued = re.fullmatch(r"# (\S+)( \(continued\))?", first).groups()
        assert continued or not (folder / path).exists(), path
        (folder / path).parent.mkdir(exist_ok=True)
        with (folder / path).open("a") as file:
            file.write("\n" * 2 * bool(continued) + code)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"celeriac_shoebox-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = "".join(f"{name} = {module}\n" for name, module in project["entry-points"]["celeriac"].items())
    (info / "entry_points.txt").write_text(f"[celeriac]\n{points}")
    return folder


def run(folder, *args):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CELERIAC_", "PYT"))}
    return subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_example_keeps_the_contract(folder):
    options = (
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        "-W",
        "error",
    )
    done = run(folder, "-m", "pytest", *options, "tests")
    assert done.returncode == 0, done.stdout
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed >= 80, done.stdout


def test_the_example_is_listed_with_what_it_declares(folder):
    done = run(folder, "-m", "celeriac", "plugins", "--json")
    (row,) = [row for row in json.loads(done.stdout) if row["name"] == "shoebox"]
    assert (row["distribution"], row["version"], row["error"]) == ("celeriac-shoebox", "0.1.0", None)
    assert row["contracts"] == [CONTRACT_VERSION]
    can = row["capabilities"]["shoebox"]
    assert {name for name, value in can.items() if value is True} == {"shared_prefetch", "peek"}


def test_a_worker_runs_on_the_example(folder):
    done = run(folder, "-W", "error", "-c", PROGRAM)
    assert done.stdout.split() == ["9900"], done.stderr


def test_every_method_of_the_port_is_explained():
    methods = {name for port in (Transport, Consumer) for name in vars(port) if inspect.isfunction(vars(port)[name])}
    explained = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert "declare" in PAGE
    assert methods - explained - {"declare"} == set()


def test_every_capability_is_explained():
    table = PAGE[PAGE.index("| capability |") : PAGE.index("If in doubt")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [field.name for field in fields(Capabilities)]


def test_every_helper_is_named():
    public = {
        name
        for name, value in vars(transport_helpers).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == transport_helpers.__name__
    }
    table = PAGE[PAGE.index("| helper |") : PAGE.index("## 11.")]
    assert public - set(re.findall(r"`(\w+)`", table)) == set()


def test_every_clause_that_is_cited_is_written_and_each_section_is_cited():
    written = {*clauses_of(TransportContract)}
    cited = set(re.findall(r"\b([A-Z]+-\d+)\b", PAGE))
    assert cited - written == set()
    assert {clause.rpartition("-")[0] for clause in written - cited} <= {clause.rpartition("-")[0] for clause in cited}


def test_the_message_of_another_contract_is_the_real_one(folder):
    code = (
        "from celeriac.plugins import Plugins; from celeriac_shoebox.transport import ShoeboxTransport"
        "\nShoeboxTransport.contract = 99"
        "\ntry: Plugins().transport('shoebox://x')\nexcept Exception as error: print(error)"
    )
    said = run(folder, "-c", code).stdout.strip()
    assert said.replace("shoebox://", "late://") in PAGE
