"""Every method of the training-free field and its main combinations by the frozen tiny CLIP, on the rendered scenes.

The best combination is chosen by a rule that was fixed before any result was seen: of every attention in ``ATTENTIONS``
with every entry of ``PARTS``, that of the highest mIoU, averaged over clear and hazy scenes of the series
``CHOICE_SERIES``. It is reported on other series.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
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
COMBINATIONS: Mapping[str, Mapping[str, Any]] = {
    f"{attention} + {part}": {"backbone.attention": form, **changes}
    for attention, form in ATTENTIONS.items()
    for part, changes in PARTS.items()
}


def method_config(changes: Mapping[str, Any], regions: Path) -> Config:
    """The config of a method: ``CONFIG`` with entries below ``model`` replaced, regions read from a folder."""
    config = launch.read_config(CONFIG)
    config.model.protocol = dict(type="sclip", short_side=192, window=128, stride=64)
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
        series: its seed.
        haze: density.
        count: number of scenes.
        folder: where the regions are written.
    """

    def __init__(self, series: int, haze: float, count: int, folder: Path) -> None:
        build_model(launch.read_config(CONFIG))  # which registers what the scenes are made of
        self.folder = folder
        pipeline = [dict(type="LoadImageFromFile"), dict(type="Haze", density=haze), dict(type="PackSegInputs")]
        dataset = DATASETS.build(
            dict(type="SceneDataset", split="val", length=count, image_size=192, seed=series, pipeline=pipeline)
        )
        self.metainfo = dataset.metainfo
        self.samples = [dataset[index] for index in range(count)]
        folder.mkdir(parents=True, exist_ok=True)
        for sample in self.samples:
            rgb = np.ascontiguousarray(sample["inputs"].numpy()[::-1].transpose(1, 2, 0))
            write_image(folder / Path(sample["data_samples"].img_path).name, colour_regions(rgb))

    def segment(self, changes: Mapping[str, Any], device: torch.device) -> tuple[float, float]:
        """mIoU in percent and the median processor seconds an image of a method."""
        model: Any = build_model(method_config(changes, self.folder)).to(device)
        model.set_vocabulary(self.metainfo["classes"])
        metric = OpenVocabIoUMetric(iou_metrics=["mIoU"])
        metric.dataset_meta = self.metainfo
        model.text()
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
    """Segment scenes by methods, those of a series by all methods before the next.

    Args:
        methods: name -> changes below ``model``.
        series: seeds of the scenes.
        scenes: how many of each.
        device: for the models.
    """
    found = {name: Measured() for name in methods}
    with TemporaryDirectory() as folder:
        for condition, (number, haze) in _looks(series):
            shown = Scenes(number, haze, scenes, Path(folder) / f"{condition}_{number}")
            bar = tqdm(methods.items(), desc=f"{condition}, series {number}", unit="method", disable=None, leave=False)
            for name, changes in bar:
                miou, seconds = shown.segment(changes, device)
                found[name].miou[condition].append(miou)
                found[name].seconds.append(seconds)
                print(condition, number, name, f"{miou:.2f}", f"{1000 * seconds:.0f} ms", sep="\t", flush=True)
    return found


def _looks(series: Sequence[int]) -> Iterator[tuple[str, tuple[int, float]]]:
    return ((condition, (number, haze)) for number in series for condition, haze in HAZE.items())


def best_of(measured: Mapping[str, Measured]) -> str:
    """The name of the highest mean mIoU, the first of several."""
    return max(measured, key=lambda name: measured[name].mean())


def compare_methods(scenes: int, choice_scenes: int, device: str = "auto") -> str:
    """The table of all methods and of the best combination, as Markdown.

    Args:
        scenes: of each reported series and condition.
        choice_scenes: of each series and condition by which the combination is chosen.
        device: 'auto', 'cpu', 'cuda', 'cuda:1' ...

    Raises:
        ValueError: if there is no such device, or no scene.
    """
    if scenes < 1 or choice_scenes < 1:
        raise ValueError(f"--scenes and --choice-scenes must be at least 1, not {scenes} and {choice_scenes}")
    chosen_on = launch.choose_device(device)
    choice = measure({**METHODS, **COMBINATIONS}, CHOICE_SERIES, choice_scenes, chosen_on)
    combinations = {name: choice[name] for name in COMBINATIONS}
    ranked = sorted(combinations, key=lambda name: combinations[name].mean(), reverse=True)
    reported = measure({**METHODS, **{ranked[0]: COMBINATIONS[ranked[0]]}}, SERIES, scenes, chosen_on)
    single = best_of({name: reported[name] for name in METHODS})
    return _tables(reported, choice, ranked, single, scenes, choice_scenes)


def _tables(
    reported: Mapping[str, Measured],
    choice: Mapping[str, Measured],
    ranked: Sequence[str],
    single: str,
    scenes: int,
    choice_scenes: int,
) -> str:
    lines = [
        [name, *(f"{statistics.mean(values):.1f} ± {interval(values):.1f}" for values in own.miou.values())]
        + [f"{1000 * statistics.median(own.seconds):.0f}"]
        for name, own in reported.items()
    ]
    headings = ["method", *(f"{condition}, mIoU" for condition in HAZE), "ms an image"]
    best, pairs = reported[ranked[0]], []
    for condition, values in best.miou.items():
        differences = [a - b for a, b in zip(values, reported[single].miou[condition], strict=True)]
        pairs.append(f"{condition} {statistics.mean(differences):+.1f} ± {interval(differences):.1f}")
    choice_lines = [
        [name, *(f"{statistics.mean(values):.1f}" for values in choice[name].miou.values())]
        + [f"{choice[name].mean():.1f}"]
        for name in [*ranked[:10], *sorted(METHODS, key=lambda name: choice[name].mean(), reverse=True)[:3]]
    ]
    return (
        f"{len(SERIES)} series of {scenes} scenes, mean and 95 % interval (Student's t).\n\n"
        + markdown_table(headings, lines)
        + f"\nThe combination was chosen of {len(COMBINATIONS)} on {choice_scenes} scenes of another series; "
        f"the ten first, and the three first published methods there:\n\n"
        + markdown_table(["combination", *HAZE, "mean"], choice_lines)
        + f"\nThe combination less the best published method here, {single}, in paired series: {'; '.join(pairs)}.\n"
    )
