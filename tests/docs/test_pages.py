"""Links in pages that are read outside the site, and what README promises."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout, suppress
from functools import cache
from importlib import import_module
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


DECLARED = re.compile(r'^(hclip-[\w-]+) = "hclip_tools\.(\w+):main"$', re.MULTILINE)
INSTALLED = dict(DECLARED.findall((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")))
COMMAND = re.compile(r"(?:tools/(\w+)\.py|\b(hclip-[a-z-]+)(?= ))([^\n`#|;&]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


@cache
def options_of(script: str) -> set[str]:
    """The options that a script of tools/ says it has; of count_costs.py those of all its methods."""
    said = io.StringIO()
    for before in ([], ["fisa"], ["maft-plus"]) if script == "count_costs" else ([],):
        with redirect_stdout(said), suppress(SystemExit):
            import_module(f"hclip_tools.{script}").parse_arguments([*before, "--help"])
    return set(OPTION.findall(said.getvalue()))


def commands_in(text: str) -> list[tuple[str, str]]:
    """(script of tools/, its arguments) of every command line in a page, up to the next sentence's part."""
    found = COMMAND.findall(re.sub(r"\s*\\\n\s*", " ", text))
    named = (
        (script or INSTALLED.get(command, ""), re.split(r" (?:and|or) |, ", rest)[0]) for script, command, rest in found
    )
    return [(script, rest) for script, rest in named if (REPOSITORY / f"tools/{script}.py").is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_options_of_commands_in_pages_exist(page):
    for script, rest in commands_in(page.read_text(encoding="utf-8")):
        assert set(OPTION.findall(rest)) <= options_of(script), f"{page.name}: {script} {rest}"


def test_commands_in_pages_are_found():
    text = (
        "`hclip-train CONFIG --amp`, or\n    python tools/test.py CONFIG \\\n        --benchmarks A-847 --tta # all\n"
    )
    assert commands_in(text) == [("train", " CONFIG --amp"), ("test", " CONFIG --benchmarks A-847 --tta ")]
    assert "--amp" in options_of("train") and "--tower" in options_of("count_costs")
