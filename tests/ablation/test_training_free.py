"""The table of training-free forms."""

from __future__ import annotations

import pytest
from miniature import REPOSITORY
from processes import run_script

from hclip_mmseg.ablation.training_free import ROWS, compare_forms


def test_every_form_has_its_line(tmp_path):
    arguments = ("--scenes", 1, "--device", "cpu", "--markdown", "table.md")
    ended = run_script(REPOSITORY / "tools/training_free_table.py", *arguments, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-3000:]
    lines = (tmp_path / "table.md").read_text().splitlines()
    forms = [line.split(" | ") for line in lines if line.startswith(tuple(f"| {name} |" for name in ROWS))]
    assert [cells[0] for cells in forms] == [f"| {name}" for name in ROWS]
    assert all(0 <= float(cell.strip(" |")) <= 100 for cells in forms for cell in cells[1:])
    assert any(line.startswith("Clusters an image: ") for line in lines)


def test_no_scenes_are_refused():
    with pytest.raises(ValueError, match="--scenes must be at least 1"):
        compare_forms(0)
