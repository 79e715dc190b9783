"""The table of what a GPU is to reach."""

from __future__ import annotations

import json

from miniature import REPOSITORY

from hclip_mmseg.costs.gpu_targets import TARGETS, table_of_folder
from hclip_mmseg.costs.rows import ROWS


def figures(milliseconds: float, gigabytes: float, launches: int) -> dict[str, dict[str, float]]:
    return {"ours": dict(median_s=milliseconds / 1000, peak_mib=gigabytes * 1e9 / 2**20, launches=launches)}


def test_what_was_measured_stands_beside_its_target(tmp_path):
    bf16 = {
        "train-171-images-4": figures(90, 25, 4000),
        "slide-150-images-8": figures(8 * 31, 3, 900),
        "slide-7": figures(20, 1, 500),
    }
    fp32 = {"slide-7": figures(18, 1, 480), "cliptrase-224-images-16": figures(16 * 1.5, 1, 900)}
    for name, results in dict(bf16=bf16, fp32=fp32).items():
        (tmp_path / f"{name}.json").write_text(json.dumps(dict(results=results)))
    table = table_of_folder(tmp_path)
    lines = {tuple(cell.strip() for cell in line.split("|")[1:3]): line for line in table.splitlines() if "|" in line}
    assert "| 90.0 | 100 met | 25.0 | 24 missed | 4000 | 4000 met |" in lines["train-171-images-4", "bf16"]
    assert "| not measured | 250 |" in lines["train-171-images-4", "fp32"]
    assert "| 31.0 | 30 missed | 3.0 |" in lines["slide-150-images-8", "bf16"]
    assert "| 1.5 | 2 met |" in lines["cliptrase-224-images-16", "fp32"]
    assert "slide-7: bf16 is slower than fp32, 20.0 ms against 18.0." in table


def test_the_script_measures_every_row_that_has_a_target():
    script = (REPOSITORY / "tools/gpu_check.sh").read_text()
    rows = {
        "bf16": script.partition('\nrows="')[2].partition('"')[0].split(),
        "fp32": script.partition('\nexact_rows="')[2].partition('"')[0].split(),
    }
    assert all(target.row in rows[target.precision] for target in TARGETS)
    assert set(rows["bf16"] + rows["fp32"]) <= set(ROWS)
    assert len(TARGETS) == 10
