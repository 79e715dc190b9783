"""What made a result: seed and versions, written beside it."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner

import hclip_mmseg
from hclip_mmseg.files.writing import write_whole

PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "numpy",
    "onedl-mmengine",
    "mmengine",
    "onedl-mmcv",
    "mmcv",
    "mmcv-lite",
    "onedl-mmsegmentation",
    "mmsegmentation",
    "onedl-mmpretrain",
    "mmpretrain",
    "onedl-mmdetection",
    "mmdet",
)


def versions() -> dict[str, str]:
    """Versions of Python, this project, and those of the packages it is built on that are installed."""
    found = {"python": platform.python_version(), "hclip_mmseg": hclip_mmseg.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_record(runner: Runner) -> Path:
    """Write command, seed, processes and versions to `run.json` beside the config that MMEngine writes."""
    path = Path(runner.work_dir) / "run.json"
    record = dict(
        command=sys.argv,
        seed=runner.seed,
        processes=runner.world_size,
        config=runner.cfg.filename,
        versions=versions(),
    )
    if is_main_process():
        write_whole(path, json.dumps(record, indent=2) + "\n")
    return path
