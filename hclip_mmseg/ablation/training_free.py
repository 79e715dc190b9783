"""The forms of training-free segmentation by the frozen tiny CLIP, compared on the rendered scenes.

Two tables: the metrics of each form, and how much attention global patches draw in each block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from tqdm import tqdm

from hclip_mmseg.apis import launch
from hclip_mmseg.apis.inferencer import build_model
from hclip_mmseg.costs.printed import markdown_table
from hclip_mmseg.evaluation import OpenVocabIoUMetric
from hclip_mmseg.training_free.depth import GLOBAL, attention_by_depth
from hclip_mmseg.training_free.regions import cluster_patches

CONFIG = "configs/cliptrase/cliptrase_tiny_scenes.py"
PATCHES: Mapping[str, Any] = {"regions": None}
ROWS: Mapping[str, Mapping[str, Any]] = {
    "plain patches": {"backbone.attention": "clip", **PATCHES},
    "value path": {"backbone.attention": "value", **PATCHES},
    "SCLIP": {"backbone.attention": "sclip", **PATCHES},
    "CLIPtrase's attention, no regions": PATCHES,
    "- by cosine": {"backbone.similarity": "cosine", **PATCHES},
    "- each patch alone": {"reach": "own", **PATCHES},
    "- within true regions (a bound)": {"reach": "labels", **PATCHES},
    "CLIPtrase": {},
    "- not denoised": {"regions.denoise": False},
    "- by inner product": {"backbone.correlation.similarity": "inner"},
    "- heads concatenated": {"backbone.correlation.heads": "concatenated"},
    "- epsilon 0.7, 3 samples": {"regions.epsilon": 0.7, "regions.min_samples": 3},
    "value path with CLIPtrase's regions": {"backbone.attention": "value"},
}
"""Form -> changes below ``model``."""
METRICS = dict(pAcc="aAcc", mAcc="mAcc", fwIoU="fwIoU", mIoU="mIoU")


def variant(config: Config, changes: Mapping[str, Any]) -> Config:
    """A copy of a config with changes below ``model``."""
    changed: Config = config.copy()
    changed.merge_from_dict({f"model.{name}": value for name, value in changes.items()})
    return changed


def metrics_of(model: Any, dataset: Any, title: str) -> list[str]:
    """Compute the metrics of a model on all scenes, as cells of the table."""
    model.set_vocabulary(dataset.metainfo["classes"])
    metric = OpenVocabIoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = dataset.metainfo
    for index in tqdm(range(len(dataset)), desc=title, unit="scene", disable=None, leave=False):
        sample = dataset[index]
        results = model.test_step(dict(inputs=[sample["inputs"]], data_samples=[sample["data_samples"]]))
        metric.process({}, [result.to_dict() for result in results])
    found = metric.compute_metrics(metric.results)
    return [f"{found[name]:.1f}" for name in METRICS.values()]


@torch.no_grad()
def depth_of(model: Any, dataset: Any) -> tuple[list[list[str]], str]:
    """Measure what global patches draw in each block, a line a block; and what denoising does to the regions."""
    number: list[Any] = []
    share: list[Any] = []
    most: list[Any] = []
    raw: list[int] = []
    denoised: list[int] = []
    finder = model.region_finder
    for index in tqdm(range(len(dataset)), desc="depth", unit="scene", disable=None, leave=False):
        batch = dict(inputs=[dataset[index]["inputs"]], data_samples=[SegDataSample()])
        pixels = model.data_preprocessor(batch, False)["inputs"]
        pixels = model.at_resolution(pixels)
        received = attention_by_depth(model.backbone, pixels[0])[0].cpu().numpy()
        at_global = received >= GLOBAL
        number.append(at_global.sum(axis=1))
        share.append(100 * np.where(at_global, received, 0).sum(axis=1) / received.sum(axis=1))
        most.append(received.max(axis=1))
        features = model.backbone.look(pixels).correlation[0]
        for counts, finder.denoise in ((raw, False), (denoised, True)):
            counts.append(int(np.max(cluster_patches(finder.rows(features), finder.epsilon, finder.min_samples))) + 1)
    means = (np.mean(values, axis=0) for values in (number, share, most))
    lines = [[str(block + 1), *(f"{x:.1f}" for x in line)] for block, line in enumerate(zip(*means, strict=True))]
    return lines, f"Clusters an image: {np.mean(raw):.1f} before denoising, {np.mean(denoised):.1f} after."


def compare_forms(scenes: int, device: str = "auto") -> str:
    """Segment scenes by every form of ``ROWS``, printing a line for each.

    Args:
        scenes: how many are segmented.
        device: 'auto', 'cpu', 'cuda', 'cuda:1' ...

    Returns:
        The two tables as Markdown.

    Raises:
        ValueError: if there is no such device, or no scene.
    """
    if scenes < 1:
        raise ValueError(f"--scenes must be at least 1, not {scenes}")
    chosen = launch.choose_device(device)
    config = launch.read_config(CONFIG)
    unchanged = build_model(config).to(chosen)  # which also registers what the scenes are made of
    dataset = DATASETS.build({**config.test_dataloader.dataset, "length": scenes})
    lines = []
    for name, changes in ROWS.items():
        model = build_model(variant(config, changes)).to(chosen)
        lines.append([name, *metrics_of(model, dataset, name)])
        print(*lines[-1], sep="\t", flush=True)
    blocks, regions = depth_of(unchanged, dataset)
    return (
        f"{scenes} scenes, {len(dataset.metainfo['classes'])} names.\n\n"
        + markdown_table(["form", *METRICS], lines)
        + "\n"
        + markdown_table(["block", "global patches", "% of attention", "most, times an even share"], blocks)
        + f"\n{regions}\n"
    )
