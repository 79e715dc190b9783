"""The tables of docs/fidelity.md are what a dry run tells."""

from __future__ import annotations

import importlib.util

from miniature import REPOSITORY


def test_the_tables_are_what_a_dry_run_tells():
    spec = importlib.util.spec_from_file_location("fidelity_table", REPOSITORY / "docs/fidelity_table.py")
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), "run python docs/fidelity_table.py"
