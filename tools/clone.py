"""A script of a clone runs the clone's code, whatever version is installed: importing this module sees to it.

``hclip_mmseg`` is then the folder beside ``tools/``, and ``hclip_tools`` is ``tools/`` itself, under the name that the
installed commands have. Other names are found as always.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

TOOLS = Path(__file__).resolve().parent
PACKAGES = {"hclip_mmseg": TOOLS.parent / "hclip_mmseg", "hclip_tools": TOOLS}


class CloneFinder(MetaPathFinder):
    """Finds this clone's two packages before any installed one."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See ``importlib.abc.MetaPathFinder``; None for every other name."""
        folder = PACKAGES.get(name)
        if folder is None:
            return None
        return spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])


sys.meta_path.insert(0, CloneFinder())
