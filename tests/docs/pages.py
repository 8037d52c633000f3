"""The pages that people read, taken apart: code, links and headings, as Markdown has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.anchors.index import slugify
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OUTSIDE = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "plugins" / "README.md",
    ROOT / "examples" / "transport-nats" / "README.md",
]
NAME = re.compile(r"# (\S+\.py)\n")


@dataclass(frozen=True)
class Fence:
    """A block of code.

    Attributes:
        language: the first word behind the backticks.
        marks: the other words.
        line: where its first line stands in the page, from 1.
        text: the code.
    """

    language: str
    marks: tuple[str, ...]
    line: int
    text: str

    @property
    def name(self):
        """The file that it is, told by its first line: ``# tasks.py``."""
        named = NAME.match(self.text)
        return named[1] if named else None


@dataclass(frozen=True)
class Page:
    path: Path
    fences: tuple[Fence, ...]
    indented: tuple[str, ...]
    links: tuple[str, ...]
    anchors: frozenset[str]
    spans: tuple[str, ...]

    def __str__(self):
        return str(self.path.relative_to(ROOT))

    def having(self, *languages):
        return [fence for fence in self.fences if fence.language in languages]


def _parser():
    from myst_parser.mdit_to_docutils.base import DocutilsRenderer

    parser = create_md_parser(MdParserConfig(), DocutilsRenderer)
    assert isinstance(parser, MarkdownIt)
    return parser


def read(path):
    """Take a page apart."""
    tokens = _parser().parse(path.read_text(encoding="utf-8"))
    inline = [child for token in tokens for child in token.children or ()]
    fences = [
        Fence(words[0], tuple(words[1:]), token.map[0] + 2, token.content)
        for token in tokens
        if token.type == "fence" and (words := token.info.split() or [""])
    ]
    return Page(
        path,
        tuple(fences),
        tuple(token.content for token in tokens if token.type == "code_block"),
        tuple(token.attrs["href"] for token in inline if token.type == "link_open"),
        frozenset(_anchors(tokens)),
        tuple(token.content for token in inline if token.type == "code_inline"),
    )


def _anchors(tokens):
    seen = set()
    for heading, content in pairwise(tokens):
        if heading.type == "heading_open":
            words = "".join(child.content for child in content.children if child.type in {"text", "code_inline"})
            slug = first = slugify(words)
            number = 0
            while slug in seen:
                number += 1
                slug = f"{first}-{number}"
            seen.add(slug)
    return seen


PAGES = [read(path) for path in [*sorted(DOCS.rglob("*.md")), *OUTSIDE]]
BY_PATH = {page.path: page for page in PAGES}
