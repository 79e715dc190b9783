"""The tables of docs/models.md are what the metafiles say."""

from __future__ import annotations

import importlib.util

from miniature import REPOSITORY


def test_the_tables_are_what_the_metafiles_say():
    spec = importlib.util.spec_from_file_location("models_table", REPOSITORY / "docs/models_table.py")
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), "run python docs/models_table.py"
