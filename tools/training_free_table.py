"""Segment the rendered scenes by the frozen tiny CLIP in every form: python tools/training_free_table.py.

Writes two tables: the metrics of each form, and how much attention global patches draw in each block.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.registry import DATASETS
from torch import nn
from tqdm import tqdm

from hclip_mmseg.apis import launch
from hclip_mmseg.apis.inferencer import build_model
from hclip_mmseg.engine.memory import keep_freed_memory
from hclip_mmseg.evaluation import OpenVocabIoUMetric
from hclip_mmseg.training_free.depth import GLOBAL, attention_by_depth
from hclip_mmseg.training_free.regions import cluster_patches

CONFIG = "configs/cliptrase/cliptrase_tiny_scenes.py"
PATCHES = {"regions": None}
ROWS: dict[str, dict[str, Any]] = {
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
METRICS = dict(pAcc="aAcc", mAcc="mAcc", fwIoU="fwIoU", mIoU="mIoU")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare all forms of training-free segmentation on the scenes.")
    parser.add_argument("--scenes", type=int, default=160, help="how many are segmented (160)")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (cuda where there is one)")
    return parser.parse_args()


def variant(config: Config, changes: dict[str, Any]) -> Config:
    """The config with changes below ``model``."""
    changed = config.copy()
    changed.merge_from_dict({f"model.{name}": value for name, value in changes.items()})
    return changed


def metrics_of(model: nn.Module, dataset: Any, title: str) -> list[str]:
    """The four metrics of a model, as cells."""
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
def depth_of(model: nn.Module, dataset: Any) -> tuple[list[list[str]], str]:
    """What global patches draw in each block, a line a block; and what denoising does to the regions."""
    number, share, most, raw, denoised = [], [], [], [], []
    finder = model.region_finder
    for index in tqdm(range(len(dataset)), desc="depth", unit="scene", disable=None, leave=False):
        pixels = model.data_preprocessor(dict(inputs=[dataset[index]["inputs"]]), False)["inputs"]
        pixels = model.at_resolution(pixels)
        received = attention_by_depth(model.backbone, pixels[0])[0].cpu().numpy()
        at_global = received >= GLOBAL
        number.append(at_global.sum(axis=1))
        share.append(100 * np.where(at_global, received, 0).sum(axis=1) / received.sum(axis=1))
        most.append(received.max(axis=1))
        features = model.backbone.look(pixels).correlation[0]
        for counts, finder.denoise in ((raw, False), (denoised, True)):
            counts.append(cluster_patches(finder.rows(features), finder.epsilon, finder.min_samples).max() + 1)
    means = (np.mean(values, axis=0) for values in (number, share, most))
    lines = [[str(block + 1), *(f"{x:.1f}" for x in line)] for block, line in enumerate(zip(*means, strict=True))]
    return lines, f"Clusters an image: {np.mean(raw):.1f} before denoising, {np.mean(denoised):.1f} after."


def markdown(headings: list[str], lines: list[list[str]]) -> str:
    rows = [headings, ["---", *["---:"] * (len(headings) - 1)], *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    keep_freed_memory()
    MMLogger.get_instance("training-free", log_level="WARNING")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    config = launch.read_config(CONFIG)
    lines = []
    for name, changes in ROWS.items():
        model = build_model(variant(config, changes)).to(device)
        dataset = DATASETS.build({**config.test_dataloader.dataset, "length": args.scenes})
        lines.append([name, *metrics_of(model, dataset, name)])
        print(*lines[-1], sep="\t", flush=True)
    model = build_model(config).to(device)
    blocks, regions = depth_of(model, dataset)
    text = f"{args.scenes} scenes, {len(dataset.metainfo['classes'])} names.\n\n"
    text += markdown(["form", *METRICS], lines) + "\n"
    text += markdown(["block", "global patches", "% of attention", "most, times an even share"], blocks)
    text += f"\n{regions}\n"
    print(f"\n{text}")
    if args.markdown:
        Path(args.markdown).write_text(text)


if __name__ == "__main__":
    main()
