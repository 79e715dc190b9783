"""Draw docs/images/keep.png: what fine-tuning on 30 rendered scenes gains and loses, with and without the remedies.

    python docs/keep_figure.py

Scenes are written as files, and go through the two commands that anyone's images do: hclip-new-dataset, hclip-train. A
run that is finished is not repeated, so the command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from hclip_mmseg.apis import launch
from hclip_mmseg.apis.new_dataset import OwnData, new_dataset
from hclip_mmseg.apis.own_training import Training
from hclip_mmseg.apis.train import train
from hclip_mmseg.datasets.haze import Haze
from hclip_mmseg.demo_assets.scenes import BACKGROUNDS, SCENE_CLASSES, render_scene
from hclip_mmseg.files.writing import write_figure

METHODS = {"h-clip": "H-CLIP", "lora": "LoRA", "cat-seg": "q and v whole"}
REMEDIES = {"none": "no remedy", "hold": "--hold 1", "mix": "--mix, a half", "strength": "strength 0.5"}
FIGURES = {"mIoU_seen": "trained names", "mIoU_unseen": "held-out name", "foreign": "foreign vocabulary"}
DRIFTS = {"text_drift": "text drift", "image_drift": "image drift"}
OWN = ("red striped star", "blue dotted circle", "yellow plain cross", "green striped triangle", "grass")
HELD_OUT = "green striped triangle"
HAZE = 0.2
SIDE = 64  # pixels
SEED_OF_NAMES = 0


def other_names() -> dict[str, list[str]]:
    """Names of the two other sets, ten objects and two backgrounds each; no name is in two sets."""
    free = [name for name in SCENE_CLASSES if name not in OWN and name not in BACKGROUNDS]
    order = np.random.default_rng(SEED_OF_NAMES).permutation(len(free))
    objects = [free[index] for index in order[:20]]
    return {"mixed": [*objects[:10], "water", "sand"], "foreign": [*objects[10:], "snow", "brick wall"]}


def write_scenes(folder: Path, names: Sequence[str], series: int, counts: Mapping[str, int], haze: float = 0.0) -> None:
    """Write rendered scenes and their label maps.

    Args:
        folder: gets ``images`` and ``masks``.
        names: of the classes, in the order of the labels.
        series: of the scenes.
        counts: subfolder -> number of scenes.
        haze: share of grey light in every image.
    """
    place = np.full(256, 255, np.uint8)
    place[[SCENE_CLASSES.index(name) for name in names]] = np.arange(len(names))
    indices = iter(range(sum(counts.values())))
    for part, count in counts.items():
        for kind in ("images", "masks"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            index = next(indices)
            scene = render_scene(series, index, SIDE, names=names, num_objects=(1, 2), radius=(16.0, 24.0))
            image = Haze(haze).transform({"img": scene.image})["img"]
            Image.fromarray(image).save(folder / f"images/{part}/{index:02d}.png")
            Image.fromarray(place[scene.labels]).save(folder / f"masks/{part}/{index:02d}.png")


def prepare(out: Path, seed: int, scenes: int) -> dict[str, Path]:
    """Write the three sets of scenes of a seed, and ``dataset.py`` of the two others: set -> its folder."""
    folders = {}
    for number, (kind, names) in enumerate({"own": list(OWN), **other_names()}.items()):
        folder = folders[kind] = out / f"seed_{seed}/{kind}"
        if not (folder / "masks").is_dir():
            counts = {"train": scenes, "val": max(scenes // 2, 1)}
            write_scenes(folder, names, 3 * 2**20 + 10 * seed + number, counts, HAZE if kind == "own" else 0.0)
        if kind != "own":
            data = OwnData(folder / "images", folder / "masks", names, val="val", first_label=0, jobs=1)
            new_dataset(kind, data, Training(size="tiny"), out_dir=folder, overwrite=True)
    return folders


def run(
    out: Path, seed: int, method: str, remedy: str, folders: Mapping[str, Path], options: argparse.Namespace
) -> Path:
    """Train once, unless that is done: the file of figures that ``--keep`` writes."""
    name = f"{method}_{remedy}"
    figures = out / f"seed_{seed}" / name / "run/keep.json"
    done = out / f"seed_{seed}" / name / "done"
    if done.exists():
        return figures
    own = folders["own"]
    data = OwnData(own / "images", own / "masks", list(OWN), held_out=[HELD_OUT], val="val", first_label=0, jobs=1)
    training = Training(
        method,
        "tiny",
        batch_size=4,
        iterations=options.iterations,
        keep=str(folders["foreign"] / "foreign/dataset.py"),
        hold=1.0 if remedy == "hold" else None,
        mix=str(folders["mixed"] / "mixed/dataset.py") if remedy == "mix" else None,
        mix_share=0.5,
    )
    new_dataset(name, data, training, out_dir=out / f"seed_{seed}", overwrite=True)
    loaded = ["datasets.0.", "datasets.1."] if remedy == "mix" else [""]
    settings = [
        *(f"train_dataloader.dataset.{part}pipeline.3.short_side={SIDE}" for part in loaded),
        *(f"train_dataloader.dataset.{part}pipeline.4.crop_size=({SIDE},{SIDE})" for part in loaded),
        f"model.data_preprocessor.size=({SIDE},{SIDE})",
        f"model.test_cfg.window={SIDE}",
        f"model.test_cfg.clip_resolution={SIDE}",
        *(
            f"{part}_dataloader.{key}"
            for part in ("train", "val", "test")
            for key in ("num_workers=0", "persistent_workers=False")
        ),
        f"randomness.seed={seed}",
        f"train_cfg.val_interval={options.iterations}",
        f"default_hooks.checkpoint.interval={options.iterations}",
        "default_hooks.visualization.draw=False",
        f"experiment_name={seed}_{name}",
        f"custom_hooks.0.strengths={'[0.5]' if remedy == 'none' else '[]'}",
        "custom_hooks.0.names=pascal_context_459,",
        *options.cfg_options,
    ]
    cfg = launch.load_config(out / f"seed_{seed}" / name / "config.py", settings)
    train(cfg)
    done.touch()
    return figures


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("work_dirs/keep_figure"), help="of the runs (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 (%(default)s)")
    parser.add_argument(
        "--scenes", type=int, default=30, help="for training, half as many for validation (%(default)s)"
    )
    parser.add_argument("--iterations", type=int, default=40, help="of a run, four images each (%(default)s)")
    parser.add_argument("--figure", default="docs/images/keep.png", help="the file to write (%(default)s)")
    parser.add_argument("--cfg-options", nargs="+", default=[], help="settings of all runs")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--remedies", nargs="+", default=["none", "hold", "mix"])
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_arguments(argv)
    launch.prepare_process()
    for seed in range(options.seeds):
        folders = prepare(options.out, seed, options.scenes)
        for method in options.methods:
            for remedy in options.remedies:
                run(options.out, seed, method, remedy, folders, options)


if __name__ == "__main__":
    main()
