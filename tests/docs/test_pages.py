"""Links in pages that are read outside the site, and what README promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from miniature import REPOSITORY

PAGES = sorted(
    page
    for folder, pattern in (("", "*.md"), ("configs", "**/*.md"), ("docs", "**/*.md"), ("tests", "**/*.md"))
    for page in (REPOSITORY / folder).glob(pattern)
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the site give to a page's headings."""
    headings = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in HEADING.findall(page.read_text("utf-8")))
    return {re.sub(r"[\s]+", "-", heading.strip()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        linked = page.parent / target
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), f"{page.name} links to {target}#{anchor}"


CODE = sorted(
    path for folder in ("hclip_mmseg", "configs", "tools", "tests") for path in (REPOSITORY / folder).rglob("*.py")
)
CITED = re.compile(r"(docs/[\w/-]+\.md)(?:, ([A-Z][\w -]+))?")


def test_pages_that_code_cites_have_the_headings():
    cited = {found for path in CODE if path != Path(__file__) for found in CITED.findall(path.read_text("utf-8"))}
    assert cited
    for page, heading in cited:
        headings = HEADING.findall((REPOSITORY / page).read_text(encoding="utf-8"))
        assert not heading or any(found.startswith(heading) for found in headings), f"{page} has no {heading}"


def test_readme_is_short_and_shows_its_image():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert (REPOSITORY / re.search(r"!\[[^]]*\]\(([^)]+)\)", text)[1]).is_file()


@pytest.mark.parametrize(
    "page", [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))], ids=lambda page: page.stem
)
def test_configs_and_tools_named_in_pages_exist(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"\b((?:configs|tools|tests|hclip_mmseg)/[\w./+-]+\.(?:py|sh|json|md))\b", text)
    missing = [name for name in named if not (REPOSITORY / name).exists()]
    assert not missing
