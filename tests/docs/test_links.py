"""Every link of every page leads to a file, or to a heading, that is there."""

import pytest
from tests.docs.pages import BY_PATH, PAGES, ROOT


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page):
    assert not [why for link in page.links if (why := broken(page, link))]


def broken(page, link):
    """Return why a link leads nowhere; an address elsewhere must be a whole one."""
    if ":" in link:
        return None if link.startswith("https://") and "." in link else f"{page}: {link} is no https address"
    path, _, anchor = link.partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    if not target.exists():
        return f"{page}: {link}: no {target.relative_to(ROOT)}"
    if target.is_dir() and target.is_relative_to(ROOT / "docs"):
        return f"{page}: {link} is a folder, of which the site has no page"
    if anchor and anchor not in BY_PATH[target].anchors:
        return f"{page}: {link}: {target.name} has no such heading, but {sorted(BY_PATH[target].anchors)}"
    return None


def test_the_pages_have_links():
    linked = {(page.path.parent / link.partition("#")[0]).resolve() for page in PAGES for link in page.links}
    assert len(linked) > len(PAGES) / 2
    assert sum("#" in link for page in PAGES for link in page.links) > 3
