"""Images and label maps of a data set in MMSegmentation's form, looked for before a run begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from hclip_mmseg.files.image_names import files_below


def missing_files(settings: Mapping[str, Any], trains: bool) -> Iterator[str]:
    """What lacks among the files of a data set whose folders are there, a line each.

    Data sets that list their images in a file, or render them, are left to themselves.

    Args:
        settings: of the data set.
        trains: whether it is trained on, for which label maps are needed.
    """
    name = settings.get("type")
    kind = DATASETS.get(name) if isinstance(name, str) else name
    if not (isinstance(kind, type) and issubclass(kind, BaseSegDataset)) or settings.get("ann_file"):
        return
    with DefaultScope.overwrite_default_scope("mmseg"):
        dataset = DATASETS.build({**settings, "pipeline": [], "lazy_init": True})
    images = dataset.data_prefix.get("img_path")
    if dataset.ann_file or dataset.img_suffix is None or not images or not Path(images).is_dir():
        return  # those that take any suffix, as FolderDataset, look for their files themselves
    there = files_below(images)
    found = [image for image in there if image.endswith(dataset.img_suffix)]
    if not found:
        yield f"the images of {name}: {_none_ends_in(images, there, dataset.img_suffix, 'img_suffix')}"
        return
    folder = dataset.data_prefix.get("seg_map_path")
    if folder is None:
        if trains:
            yield f"the label maps of {name}, which is trained on: data_prefix names no folder of them as seg_map_path"
        elif any(str(step.get("type")).endswith("LoadAnnotations") for step in settings.get("pipeline") or ()):
            yield (
                f"the label maps of {name}, which its pipeline loads: data_prefix names no folder of them as "
                "seg_map_path; to test without any, put LoadLabelMap in the place of LoadAnnotations"
            )
        return
    if not Path(folder).is_dir():
        return
    maps, suffix = set(files_below(folder)), dataset.seg_map_suffix
    lacking = [image for image in found if image[: -len(dataset.img_suffix)] + suffix not in maps]
    if len(lacking) == len(found):
        yield f"the label maps of {name}: {_none_ends_in(folder, maps, suffix, 'seg_map_suffix')}"
    elif lacking:
        first = Path(folder, lacking[0][: -len(dataset.img_suffix)] + suffix)
        yield (
            f"the label maps of {name}: {len(lacking)} of {len(found)} are missing, such as {first} for "
            f"{Path(images, lacking[0])}"
        )


def _none_ends_in(folder: str, files: Collection[str], suffix: str, setting: str) -> str:
    """What is said where a folder has no file of the suffix that belongs to a wanted file."""
    if any(name.endswith(suffix) for name in files):
        return f"those in {folder} are called otherwise than the images"
    counts = Counter(Path(name).suffix for name in files).most_common(3)
    there = ", ".join(f"{count} in '{ending}'" for ending, count in counts) or "none at all"
    hint = f"; set {setting}={counts[0][0]!r} of the data set" if counts else ""
    return f"no file in {folder} ends in '{suffix}'; there are {there}{hint}"
