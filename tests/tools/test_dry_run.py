"""tools/test.py --benchmarks ... --dry-run: what would be evaluated, without weights and without data."""

from __future__ import annotations

import pytest
from hclip_tools import test as tool
from miniature import REPOSITORY
from miniature_benchmarks import OWNERS, write_owners

from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.benchmarks.dry_run import plan


def planned(config: str, *benchmarks: str, data_root=None) -> dict[str, dict[str, str]]:
    cfg = read_config(REPOSITORY / f"configs/{config}.py")
    return {entry["benchmark"]: entry for entry in plan(cfg, benchmarks, data_root)}


def test_without_data_it_says_what_is_missing_and_all_else(tmp_path):
    found = planned("cliptrase/cliptrase_vitb16_224", "all", data_root=tmp_path)
    assert all("prepare_dataset.py" in entry["files"] and str(tmp_path) in entry["files"] for entry in found.values())
    assert all(entry["images"] == "not known without the data" for entry in found.values())
    twenty = found["PAS-20"]
    assert twenty["vocabulary"] == "pascal_voc_20@cliptrase (1 of 20 entries changed)"
    assert twenty["ignored"] == "0, 255 in the files" and twenty["background"] == "no class"
    assert found["VOC21"]["background"].startswith("class 0, asked for by 32 entries")
    assert "mAcc: the mean over all classes" in twenty["metric"] and "whole entry" in twenty["prompts"]
    assert "mIoU 80.95" in twenty["printed"] and "CLIPCrop(size=224)" in twenty["image"]


def test_each_method_has_its_own_names_sizes_and_metric():
    ours, theirs = (
        planned(config, "PC-459")["PC-459"]
        for config in ("hclip/hclip_vitb16_coco-stuff", "maft_plus/maft-plus-published_convnext-l_coco-stuff")
    )
    assert "h-clip (94 of 459" in ours["vocabulary"] and "maft-plus (50 of 459" in theirs["vocabulary"]
    assert "short_side=640" in ours["image"] and ours["views"].startswith("slide_whole: canvas 640, window 384")
    assert theirs["image"].count("short_side") == 1 and "short_side=800, max_size=1333" in theirs["image"]
    assert "never labelled are left out" in ours["metric"] and "never labelled counts as 0" in theirs["metric"]
    assert "the first name" in ours["prompts"] and "the best counts" in theirs["prompts"]


def test_the_command_counts_the_images_that_are_there(tmp_path, capsys):
    write_owners(OWNERS["PAS-20"], tmp_path / "VOCdevkit/VOC2012")
    config = str(REPOSITORY / "configs/hclip/hclip_vitb16_coco-stuff.py")
    tool.main([config, "--benchmarks", "PAS-20", "A-847", "--dry-run", "--data-root", str(tmp_path)])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line]
    told = [text for key, text in lines if key == "images"]
    assert told[0].isdigit() and int(told[0]) > 0 and told[1] == "not known without the data"
    assert [text for key, text in lines if key == "benchmark"] == ["PAS-20", "A-847"]


def test_a_dry_run_is_of_benchmarks(capsys):
    with pytest.raises(SystemExit):
        tool.main(["configs/hclip/hclip_vitb16_coco-stuff.py", "--dry-run"])
    assert "--dry-run tells what --benchmarks NAME ... would do" in capsys.readouterr().err
