"""The folders of runs for which none is given."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hclip_mmseg.apis.launch import default_work_dir


def test_no_two_configs_share_a_folder(repository):
    configs = [path for path in (repository / "configs").rglob("*.py") if "_base_" not in path.parts]
    shared = [folder for folder, count in Counter(map(default_work_dir, configs)).items() if count > 1]
    assert len(configs) > 80 and not shared


@pytest.mark.parametrize(
    "config, folder",
    [
        ("configs/hclip/hclip_tiny_scenes.py", "hclip_tiny_scenes"),
        ("hclip_mmseg::hclip/hclip_tiny_scenes.py", "hclip_tiny_scenes"),
        ("configs/detection/hclip_tiny_scenes.py", "detection/hclip_tiny_scenes"),
        ("hclip_mmseg::detection/hclip_tiny_scenes.py", "detection/hclip_tiny_scenes"),
        ("mine/new.py", "new"),
        ("new.py", "new"),
    ],
)
def test_the_folder_of_a_config(config, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_work_dir(config) == Path("work_dirs") / folder


def test_a_config_is_the_same_from_within_its_folder(repository, monkeypatch):
    monkeypatch.chdir(repository / "configs/detection")
    assert default_work_dir("hclip_tiny_scenes.py") == Path("work_dirs/detection/hclip_tiny_scenes")
