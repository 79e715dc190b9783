"""A hook of MkDocs: one reference page for each package of hclip_mmseg, made when the site is built.

A page lists the package's modules, which mkdocstrings fills from their docstrings, so a module that is added, moved or
removed needs no change of a page.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).resolve().parents[1] / "hclip_mmseg"


def package_names() -> list[str]:
    """The packages directly in hclip_mmseg, in alphabetical order."""
    return sorted(init.parent.name for init in PACKAGE.glob("*/__init__.py"))


def reference_page(name: str) -> str:
    """The page of a package, in Markdown: its own docstring, then each of its modules."""
    modules = sorted((PACKAGE / name).rglob("*.py"))
    public = [path for path in modules if not path.name.startswith("_")]
    dotted = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in public]
    return "\n\n".join([f"# {name}", *(f"::: {module}" for module in dotted)]) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages behind the reference's own in the navigation."""
    pages = ["reference/index.md", *({name: f"reference/{name}.md"} for name in package_names())]
    config.nav = [*(config.nav or []), {"Reference": pages}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to the site's files."""
    for name in package_names():
        files.append(File.generated(config, f"reference/{name}.md", content=reference_page(name)))
    return files
