"""What would be published: the wheel holds the packages and nothing else, the sdist all that makes it."""

import configparser
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = {Path(path).name: ROOT / path for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}


def built(folder, *targets, source=ROOT):
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    command += [word for target in targets for word in ("-t", target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    wheel, sdist = built(tmp_path_factory.mktemp("dist"), "sdist", "wheel")
    return sdist, wheel


@pytest.fixture(scope="module")
def wheel(distributions):
    with zipfile.ZipFile(distributions[1]) as opened:
        yield opened


def test_the_wheel_holds_every_file_of_every_package_and_no_other(wheel):
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert found == wanted


def test_every_package_is_typed(wheel):
    assert {f"{name}/py.typed" for name in PACKAGES} <= set(wheel.namelist())


def test_every_package_of_the_source_is_in_the_wheel():
    folders = {path.parent for top in ("core", "transports", "plugins") for path in (ROOT / top).glob("*/__init__.py")}
    assert folders == set(PACKAGES.values())


def test_what_the_wheel_says_of_itself(wheel):
    (entries,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    points = configparser.ConfigParser()
    points.read_string(wheel.read(entries).decode())
    assert dict(points["console_scripts"]) == {"celeriac": "celeriac.cli:main"}
    assert dict(points["celeriac"]) == PROJECT["project"]["entry-points"]["celeriac"]
    (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    needs = [line for line in wheel.read(metadata).decode().splitlines() if line.startswith("Requires-Dist: ")]
    assert [line for line in needs if "extra ==" not in line] == ["Requires-Dist: pluggy>=1.5"]
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())


def test_the_sdist_makes_the_same_wheel(distributions, wheel, tmp_path):
    with tarfile.open(distributions[0]) as opened:
        opened.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    (again,) = built(tmp_path / "again", "wheel", source=source)
    with zipfile.ZipFile(again) as opened:
        assert opened.namelist() == wheel.namelist()
        assert all(opened.read(name) == wheel.read(name) for name in wheel.namelist() if not name.endswith("RECORD"))


def test_the_sdist_has_what_its_readers_want(distributions):
    with tarfile.open(distributions[0]) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "docs/index.md", "tests/conftest.py"} <= names
    assert not [name for name in names if name.startswith((".ci", ".bench", ".venv"))]
