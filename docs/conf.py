"""How the pages of this folder become a site: ``python -m sphinx -W -b html docs build/docs``."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

import celeriac

project = "celeriac"
author = "the celeriac authors"
copyright = author  # noqa: A001 - Sphinx asks for it by this name
version = release = celeriac.__version__
html_title = f"celeriac {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_heading_anchors = 4  # a link to a heading is the same here and where the repository is read
default_role = "code"  # one backtick in a docstring is code

napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autoclass_content = "both"  # what a constructor takes stands with its class
python_use_unqualified_type_names = True

html_theme = "furo"
html_copy_source = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
html_static_path = ["static"]
html_css_files = ["celeriac.css"]

ROOT = Path(__file__).parents[1]
CODE = re.compile(r'(?<=<span class="pre">)[^<]+')
BREAKS = re.compile(r"(?<=_)(?=\w)|(?<=::)|(?<=[a-z])(?=[A-Z])")
LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)")


def name_what_is_elsewhere(app: Any, page: str, source: list[str]) -> None:
    """Name a file of the repository, say an example, by its path: it is linked to there, and not part of the site."""

    def named(link: re.Match[str]) -> str:
        target = (Path(app.srcdir, page).parent / link[2].partition("#")[0]).resolve()
        if target.is_relative_to(app.srcdir):
            return link[0]
        path = f"`{PurePosixPath(target.relative_to(ROOT))}`"
        return path if link[1].strip("`") == path.strip("`") else f"{link[1]} ({path})"

    source[0] = LINK.sub(named, source[0])


def let_names_break(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:  # noqa: ARG001 - Sphinx calls it so
    """Let a long name in a narrow column of a table break between its words."""
    if "body" in context:
        context["body"] = CODE.sub(lambda name: BREAKS.sub("<wbr>", name[0]), context["body"])


def setup(app: Any) -> None:
    """Have every page pass the two."""
    app.connect("source-read", name_what_is_elsewhere)
    app.connect("html-page-context", let_names_break)
