"""The site is built by the command that CONTRIBUTING.md names, with no warning, and every page is in it."""

import re
import runpy
import shlex
import subprocess
import sys

import pytest
from tests.docs.pages import DOCS, ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    line = re.search(r"python (-m sphinx \S.*?)(?=  |$)", CONTRIBUTING, re.MULTILINE)
    *words, source, target = shlex.split(line[1])
    assert (source, target) == ("docs", "build/docs")
    assert "-W" in words
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, *words, "-q", "--keep-going", "-d", str(folder / "trees"), source, str(folder / "html")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert built.returncode == 0, built.stderr
    assert not built.stderr
    return folder / "html"


def test_every_page_is_in_the_site_and_in_its_contents(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    listed = set(re.findall(r'class="reference internal" href="([^"#]+)"', index))
    pages = {str(path.relative_to(DOCS).with_suffix(".html")) for path in DOCS.rglob("*.md")} - {"index.html"}
    assert not [page for page in pages if not (site / page).exists()]
    decisions = {page for page in pages if page.startswith("decisions/")}
    assert decisions  # these are listed by a page of their own
    assert not pages - decisions - listed


def test_the_four_parts_are_named(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'class="caption-text">([^<]+)<', index)[:4] == ["Tutorial", "How to", "Reference", "Explanation"]


def test_a_file_that_is_not_part_of_the_site_is_named_by_its_path(site):
    page = (site / "tutorial" / "examples.html").read_text(encoding="utf-8")
    assert "(<code" in page
    assert ">examples/transport-nats/pyproject.toml<" in page
    assert 'href="../../examples' not in page


def test_long_names_in_tables_may_break(site):
    assert "max_<wbr>message_<wbr>bytes" in (site / "guarantees.html").read_text(encoding="utf-8")


def test_the_pictures_are_drawn_by_their_program():
    pictures = runpy.run_path(str(DOCS / "pictures" / "draw.py"))["PICTURES"]
    assert pictures.keys() == {path.name for path in (DOCS / "pictures").glob("*.svg")}
    for name, draw in pictures.items():
        assert (DOCS / "pictures" / name).read_text(encoding="utf-8") == draw().svg(), "run docs/pictures/draw.py"
