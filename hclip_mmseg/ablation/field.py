"""Every method of the training-free field and its main combinations by the frozen tiny CLIP, on the rendered scenes.

The combinations are chosen by a rule that was fixed before any result was seen: with every entry of ``PARTS`` the
attention of ``ATTENTIONS`` that has the highest mIoU, averaged over clear and hazy scenes of the series
``CHOICE_SERIES``; the best combination is the highest of these. They are reported on other series.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from numpy.typing import NDArray
from scipy.stats import t as student_t
from tqdm import tqdm

from hclip_mmseg.apis import launch
from hclip_mmseg.apis.inferencer import build_model
from hclip_mmseg.costs.printed import markdown_table
from hclip_mmseg.evaluation import OpenVocabIoUMetric
from hclip_mmseg.files.writing import write_image

CONFIG = "configs/training_free/naclip_tiny_scenes.py"
SIDE = 192
"""Height and width of a scene in pixels."""
SERIES: tuple[int, ...] = (0, 1, 2)
CHOICE_SERIES: tuple[int, ...] = (10,)
HAZE: Mapping[str, float] = {"clear": 0.0, "hazy": 0.35}
"""Condition -> density of the haze; that of configs/hclip/hclip_tiny_scenes.py."""

# blocks of the published 12 stand at the same part of the depth of the tiny CLIP's 6
OWN = dict(
    type="CLIPPatchFeatures",
    clip=dict(model="hclip_mmseg/demo_assets/tiny_clip.json", pretrained="hclip_mmseg/demo_assets/tiny_clip.pt"),
)
"""The tiny CLIP's own fourth block, where the published methods ask DINO: there is no second model for the scenes."""
FOLDER = dict(type="RegionFolder", folder="REGIONS")
"""Regions that Felzenszwalb and Huttenlocher's graph finds by colour, where the published methods ask SAM 2."""
LAYERS = (2, 3, 4)
SC_CLIP = dict(type="SelfCalibration", similar=3, aggregate=1, collected=(1, 2, 3, 4))
RESCLIP = dict(type="ResidualAttention", form="naclip", layers=(2, 3), weight=0.4, feedback={})
PROXYCLIP = dict(type="ProxyAttention", features=OWN)
ATTENTIONS: Mapping[str, Any] = {
    "MaskCLIP": "value",
    "SCLIP": "sclip",
    "ClearCLIP": "clearclip",
    "NACLIP": "naclip",
    "CLIPtrase's attention": "cliptrase",
    "ProxyCLIP": PROXYCLIP,
    "ResCLIP": RESCLIP,
    "SC-CLIP": SC_CLIP,
}
LPOSS = {"windowed.propagation": dict(type="LabelPropagation", features=OWN)}
SCGA = {"windowed.stitch": True, "windowed.aggregation": dict(type="GlobalAggregation")}
TRASE = {"regions": dict(epsilon=1.1, min_samples=7)}
PARTS: Mapping[str, Mapping[str, Any]] = {
    "PAMR": {"windowed.smoothing": dict(type="PAMR")},
    "SCGA": SCGA,
    "LPOSS": LPOSS,
    "absent names left out": {"windowed.absent_below": 0.5},
    "CLIPtrase's regions": TRASE,
    "regions by colour": {"refinement": FOLDER},
    "LPOSS, regions by colour": {**LPOSS, "refinement": FOLDER},
}
"""Part -> changes below ``model``."""
METHODS: Mapping[str, Mapping[str, Any]] = {
    "CLIP": {"backbone.attention": "clip"},
    **{name: {"backbone.attention": form} for name, form in ATTENTIONS.items() if name != "CLIPtrase's attention"},
    "GEM": {"backbone.attention": dict(type="GEMAttention", depth=3)},
    "NACLIP, PAMR": {"backbone.attention": "naclip", **PARTS["PAMR"]},
    "CLIPtrase": {"backbone.attention": "cliptrase", **TRASE},
    "LPOSS": {"backbone.attention": "value", **LPOSS},
    "LPOSS+": {"backbone.attention": "value", **LPOSS, "windowed.smoothing": dict(type="PixelPropagation")},
    "Trident without SAM": {"backbone.attention": PROXYCLIP, "windowed.stitch": True},
    "RADSeg's parts": {
        "backbone.attention": dict(type="RecursiveAttention"),
        **SCGA,
        "windowed.absent_below": 0.5,
    },
    "CorrCLIP": {
        "backbone.attention": dict(type="RegionScope", features=OWN, regions=FOLDER, layers=LAYERS),
        "refinement": FOLDER,
    },
    "OV-Stitcher": {
        "backbone.attention": dict(type="StitchedScope", features=OWN, regions=FOLDER, layers=LAYERS),
        "refinement": FOLDER,
    },
}
"""Published method -> changes below ``model``."""


def combination(attention: str, part: str) -> str:
    """The name of an attention of ``ATTENTIONS`` with a part of ``PARTS``."""
    return f"{attention} + {part}"


COMBINATIONS: Mapping[str, Mapping[str, Any]] = {
    combination(attention, part): {"backbone.attention": form, **changes}
    for attention, form in ATTENTIONS.items()
    for part, changes in PARTS.items()
}


def method_config(changes: Mapping[str, Any], regions: Path) -> Config:
    """The config of a method: ``CONFIG`` with entries below ``model`` replaced, regions read from a folder."""
    config = launch.read_config(CONFIG)
    config.model.protocol = dict(type="sclip", short_side=SIDE, window=128, stride=64)
    for name, value in changes.items():
        owner, _, own = name.rpartition(".")
        place = config.model.get(owner, {}) if owner else config.model
        place[own] = _with_folder(value, str(regions))
        if owner:
            config.model[owner] = place
    return config


def _with_folder(value: Any, folder: str) -> Any:
    if value == FOLDER["folder"]:
        return folder
    if isinstance(value, Mapping):
        return {key: _with_folder(of_key, folder) for key, of_key in value.items()}
    return value


def colour_regions(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Regions of an RGB image [H, W, 3] by colour alone (Felzenszwalb and Huttenlocher, IJCV 2004), from 1, [H, W]."""
    found = cv2.ximgproc.segmentation.createGraphSegmentation(sigma=0.8, k=300, min_size=100).processImage(image)
    _, numbers = np.unique(found, return_inverse=True)
    return np.minimum(numbers.reshape(image.shape[:2]) + 1, 255).astype(np.uint8)


class Scenes:
    """One series of scenes in one condition, rendered once, with its regions by colour in a folder.

    Args:
        condition: one of ``HAZE``.
        series: its seed.
        count: number of scenes.
        folder: where the regions are written; it may hold those of other series.
    """

    def __init__(self, condition: str, series: int, count: int, folder: Path) -> None:
        self.condition, self.title = condition, f"{condition}, series {series}"
        haze = dict(type="Haze", density=HAZE[condition])
        pipeline = [dict(type="LoadImageFromFile"), haze, dict(type="PackSegInputs")]
        dataset = DATASETS.build(
            dict(type="SceneDataset", split="val", length=count, image_size=SIDE, seed=series, pipeline=pipeline)
        )
        self.metainfo = dataset.metainfo
        self.samples = [dataset[index] for index in range(count)]
        for sample in self.samples:
            name = f"{condition}_{series}_{Path(sample['data_samples'].img_path).name}"
            sample["data_samples"].set_metainfo(dict(img_path=name))
            rgb = np.ascontiguousarray(sample["inputs"].numpy()[::-1].transpose(1, 2, 0))
            write_image(folder / name, colour_regions(rgb))

    def segment(self, model: Any) -> tuple[float, float]:
        """mIoU in percent and the median processor seconds an image of a model that was given the scenes' names."""
        metric = OpenVocabIoUMetric(iou_metrics=["mIoU"])
        metric.dataset_meta = self.metainfo
        seconds = []
        for sample in self.samples:
            batch = dict(inputs=[sample["inputs"]], data_samples=[sample["data_samples"].clone()])
            start = time.process_time()
            results = model.test_step(batch)
            seconds.append(time.process_time() - start)
            metric.process({}, [result.to_dict() for result in results])
        return float(metric.compute_metrics(metric.results)["mIoU"]), statistics.median(seconds)


@dataclass
class Measured:
    """What was measured of one method.

    Attributes:
        miou: condition -> mIoU in percent of every series.
        seconds: median processor time an image of every series and condition.
    """

    miou: dict[str, list[float]] = field(default_factory=lambda: {condition: [] for condition in HAZE})
    seconds: list[float] = field(default_factory=list)

    def mean(self) -> float:
        """mIoU over conditions and series."""
        return statistics.mean(value for values in self.miou.values() for value in values)


def interval(values: Sequence[float]) -> float:
    """Half the 95 % interval of the mean by Student's t; infinite for a single value."""
    if len(values) < 2:
        return math.inf
    factor = float(student_t.ppf(0.975, len(values) - 1))
    return factor * statistics.stdev(values) / math.sqrt(len(values))


def measure(
    methods: Mapping[str, Mapping[str, Any]], series: Sequence[int], scenes: int, device: torch.device
) -> dict[str, Measured]:
    """Segment clear and hazy scenes by methods, printing a line for each.

    Args:
        methods: name -> changes below ``model``.
        series: seeds of the scenes.
        scenes: how many of each.
        device: for the models.
    """
    build_model(launch.read_config(CONFIG))  # which registers what the scenes are made of
    found: dict[str, Measured] = {}
    with TemporaryDirectory() as folder:
        looks = [Scenes(condition, number, scenes, Path(folder)) for number in series for condition in HAZE]
        for name, changes in tqdm(methods.items(), desc=f"series {series}", unit="method", disable=None, leave=False):
            model: Any = build_model(method_config(changes, Path(folder))).to(device)
            model.set_vocabulary(looks[0].metainfo["classes"])
            with torch.no_grad():
                model.text()
            own = found[name] = Measured()
            for shown in looks:
                miou, seconds = shown.segment(model)
                own.miou[shown.condition].append(miou)
                own.seconds.append(seconds)
            print(name, f"{own.mean():.2f}", f"{1000 * statistics.median(own.seconds):.0f} ms", sep="\t", flush=True)
    return found


def best_of(measured: Mapping[str, Measured]) -> str:
    """The name of the highest mean mIoU, the first of several."""
    return max(measured, key=lambda name: measured[name].mean())


def chosen_combinations(choice: Mapping[str, Measured]) -> list[str]:
    """The best combination of every part, the best of all first.

    Args:
        choice: combination -> what was measured on the scenes by which it is chosen.
    """
    best = [
        best_of({name: choice[name] for name in (combination(attention, part) for attention in ATTENTIONS)})
        for part in PARTS
    ]
    return sorted(best, key=lambda name: choice[name].mean(), reverse=True)


def compare_methods(scenes: int, choice_scenes: int, device: str = "auto") -> str:
    """The table of all methods and of the chosen combinations, as Markdown.

    Args:
        scenes: of each reported series and condition.
        choice_scenes: of each series and condition by which the combinations are chosen.
        device: 'auto', 'cpu', 'cuda', 'cuda:1' ...

    Raises:
        ValueError: if there is no such device, or no scene.
    """
    if scenes < 1 or choice_scenes < 1:
        raise ValueError(f"--scenes and --choice-scenes must be at least 1, not {scenes} and {choice_scenes}")
    on = launch.choose_device(device)
    choice = measure(COMBINATIONS, CHOICE_SERIES, choice_scenes, on)
    chosen = chosen_combinations(choice)
    reported = measure({**METHODS, **{name: COMBINATIONS[name] for name in chosen}}, SERIES, scenes, on)
    return _tables(reported, choice, chosen[0], scenes, choice_scenes)


def _tables(
    reported: Mapping[str, Measured], choice: Mapping[str, Measured], best: str, scenes: int, choice_scenes: int
) -> str:
    lines = [
        [name, *(f"{statistics.mean(values):.1f} ± {interval(values):.1f}" for values in own.miou.values())]
        + [f"{1000 * statistics.median(own.seconds):.0f}"]
        for name, own in reported.items()
    ]
    headings = ["method", *(f"{condition}, mIoU" for condition in HAZE), "ms an image"]
    single, pairs = best_of({name: reported[name] for name in METHODS}), []
    for condition, values in reported[best].miou.items():
        differences = [a - b for a, b in zip(values, reported[single].miou[condition], strict=True)]
        pairs.append(f"{condition} {statistics.mean(differences):+.1f} ± {interval(differences):.1f}")
    grid = [
        [attention, *(f"{choice[combination(attention, part)].mean():.1f}" for part in PARTS)]
        for attention in ATTENTIONS
    ]
    return (
        f"{len(SERIES)} series of {scenes} scenes, mean and 95 % interval (Student's t); processor time.\n\n"
        + markdown_table(headings, lines)
        + f"\nThe combinations were chosen of {len(choice)} on {choice_scenes} scenes of another series, clear and "
        "hazy; mIoU there:\n\n"
        + markdown_table(["attention", *PARTS], grid)
        + f"\nThe best there, {best}, less the best published method here, {single}, in paired series: "
        f"{'; '.join(pairs)}.\n"
    )
