"""The project's version, which pyproject.toml says and nothing else."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

from hclip_mmseg.files.paths import PROJECT_ROOT

DISTRIBUTION = "hclip-mmseg"


def project_version() -> str:
    """The version in a clone's pyproject.toml, whatever is installed beside it; else the installed one's."""
    project = PROJECT_ROOT / "pyproject.toml"
    if project.is_file():
        text = project.read_text(encoding="utf-8")
        written = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
        if written and f'name = "{DISTRIBUTION}"' in text:
            return written[1]
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
