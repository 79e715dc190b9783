"""Draw docs/images/keep.png, and write its table into docs/tutorials/keep.md.

    python docs/keep_figure.py

What fine-tuning on 30 rendered scenes gains and loses, with and without the remedies. Scenes are written as files, and
go through what anyone's images do, hclip-new-dataset and hclip-train. A run that is finished is not repeated, so the
command goes on where it was interrupted; figure and table are of the runs that are finished.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config
from PIL import Image

from hclip_mmseg.apis import launch
from hclip_mmseg.apis.new_dataset import OwnData, new_dataset
from hclip_mmseg.apis.own_training import Training
from hclip_mmseg.apis.train import train
from hclip_mmseg.datasets.haze import Haze
from hclip_mmseg.demo_assets.scenes import BACKGROUNDS, SCENE_CLASSES, render_scene
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.writing import write_figure, write_whole

PAGE = Path(__file__).with_name("tutorials") / "keep.md"
START, END = "<!-- table: python docs/keep_figure.py -->\n", "<!-- end of the table -->"
METHODS = {"h-clip": "H-CLIP", "lora": "LoRA", "cat-seg": "q and v whole"}
TRAINED = ("none", "hold", "mix")
REMEDIES = {"none": "no remedy", "strength": "strength 0.5", "hold": "`--hold 1`", "mix": "`--mix`, a half"}
FIGURES = {
    "mIoU_seen": "trained names",
    "mIoU_unseen": "held-out name",
    "foreign": "foreign names",
    "text_drift": "text drift",
    "image_drift": "image drift",
}
PANELS = ("mIoU_seen", "mIoU_unseen", "foreign")
OWN = ("red striped star", "blue dotted circle", "yellow plain cross", "green striped triangle", "grass")
HELD_OUT = "green striped triangle"
HAZE = 0.2
SIDE = 64  # pixels

Rows = Mapping[tuple[str, str], Sequence[Mapping[str, float]]]
"""(method, remedy) -> what ``--keep`` measured at the end of a run, a seed each; ("frozen", "none") for frozen CLIP."""


def other_names() -> dict[str, list[str]]:
    """Names of the two other sets, ten objects and two backgrounds each; no name is in two sets."""
    free = [name for name in SCENE_CLASSES if name not in OWN and name not in BACKGROUNDS]
    objects = [free[index] for index in np.random.default_rng(0).permutation(len(free))]
    return {"mixed": [*objects[:10], "water", "sand"], "foreign": [*objects[10:20], "snow", "brick wall"]}


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


def run_settings(remedy: str, seed: int, name: str, iterations: int) -> list[str]:
    """What the runs have otherwise than the config that ``hclip-new-dataset`` writes: small images, one evaluation."""
    datasets = ["datasets.0.", "datasets.1."] if remedy == "mix" else [""]
    loaders = [f"{part}_dataloader" for part in ("train", "val", "test")]
    return [
        *(f"train_dataloader.dataset.{dataset}pipeline.3.short_side={SIDE}" for dataset in datasets),
        *(f"train_dataloader.dataset.{dataset}pipeline.4.crop_size=({SIDE},{SIDE})" for dataset in datasets),
        f"model.data_preprocessor.size=({SIDE},{SIDE})",
        f"model.test_cfg.window={SIDE}",
        f"model.test_cfg.clip_resolution={SIDE}",
        *(f"{loader}.num_workers=0" for loader in loaders),
        *(f"{loader}.persistent_workers=False" for loader in loaders),
        f"randomness.seed={seed}",
        f"train_cfg.val_interval={iterations}",
        f"default_hooks.checkpoint.interval={iterations}",
        "default_hooks.checkpoint.save_best=None",
        "default_hooks.visualization.draw=False",
        f"experiment_name={seed}_{name}",
        f"custom_hooks.0.strengths={'[0.5]' if remedy == 'none' else '[]'}",
        "custom_hooks.0.names=pascal_context_459,",
    ]


def run(folders: Mapping[str, Path], seed: int, method: str, remedy: str, options: argparse.Namespace) -> None:
    """Train once, unless that is done."""
    done = folders["own"].parent / f"{method}_{remedy}/done"
    if not done.exists():
        train(run_config(folders, seed, method, remedy, options))
        done.touch()


def run_config(folders: Mapping[str, Path], seed: int, method: str, remedy: str, options: argparse.Namespace) -> Config:
    """The config of a run, as ``hclip-new-dataset`` writes it for the scenes, with what is otherwise here."""
    own, name = folders["own"], f"{method}_{remedy}"
    data = OwnData(own / "images", own / "masks", list(OWN), held_out=[HELD_OUT], val="val", first_label=0, jobs=1)
    training = Training(
        method,
        "tiny",
        batch_size=2,
        iterations=options.iterations,
        keep=str(folders["foreign"] / "foreign/dataset.py"),
        hold=1.0 if remedy == "hold" else None,
        mix=str(folders["mixed"] / "mixed/dataset.py") if remedy == "mix" else None,
        mix_share=0.5,
    )
    new_dataset(name, data, training, out_dir=own.parent, overwrite=True)
    config = Config.fromfile(own.parent / name / "config.py", format_python_code=False)  # which takes seconds a run
    return launch.load_config(config, run_settings(remedy, seed, name, options.iterations))


def read_rows(out: Path, seeds: int) -> Rows:
    """What the finished runs measured."""
    rows: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for seed in range(seeds):
        frozen = None
        for method in METHODS:
            for remedy in TRAINED:
                folder = out / f"seed_{seed}/{method}_{remedy}"
                if not (folder / "done").exists():
                    continue
                frozen, trained, *parts = read_json(folder / "run/keep.json")
                rows.setdefault((method, remedy), []).append(trained)
                if parts:
                    rows.setdefault((method, "strength"), []).append(parts[0])
        if frozen is not None:
            rows.setdefault(("frozen", "none"), []).append(frozen)
    return rows


def told(values: Sequence[float], digits: int) -> str:
    """Mean and, of several, standard deviation."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}"


def table(rows: Rows) -> str:
    """The rows as Markdown, frozen CLIP first."""
    lines = [f"| method | remedy | seeds | {' | '.join(FIGURES.values())} |", "|---" * (3 + len(FIGURES)) + "|"]
    for method, title in {"frozen": "frozen CLIP", **METHODS}.items():
        for remedy, named in REMEDIES.items():
            found = rows.get((method, remedy))
            if found:
                cells = [told([row[key] for row in found], 3 if "drift" in key else 1) for key in FIGURES]
                shown = named if method in METHODS else ""
                lines.append(f"| {title} | {shown} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def figure_of(rows: Rows) -> Figure:
    """Draw a panel for each kind of names, a group of bars for each method, and frozen CLIP as a line."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    width = 0.8 / len(REMEDIES)
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, key in zip(panels, PANELS, strict=True):
        frozen = statistics.fmean(row[key] for row in rows["frozen", "none"])
        axes.axhline(frozen, color="black", ls="--", lw=1, label="frozen CLIP")
        for place, (remedy, named) in enumerate(REMEDIES.items()):
            values = [[row[key] for row in rows[method, remedy]] for method in METHODS]
            across = [group + (place - 1.5) * width for group in range(len(METHODS))]
            axes.bar(across, [statistics.fmean(value) for value in values], width, label=named.replace("`", ""))
            points = [(x, y) for x, value in zip(across, values, strict=True) for y in value]
            axes.plot(*zip(*points, strict=True), ".", color="black", markersize=3)
        axes.set(title=FIGURES[key], xticks=range(len(METHODS)), xticklabels=METHODS.values())
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("mIoU (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=1 + len(REMEDIES))
    return figure


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("work_dirs/keep_figure"), help="folder of the runs (%(default)s)")
    add("--seeds", type=int, default=3, help="how many, from 0 (%(default)s)")
    add("--scenes", type=int, default=30, help="for training, half as many for validation (%(default)s)")
    add("--iterations", type=int, default=60, help="of a run, two images each (%(default)s)")
    add("--figure", type=Path, default=PAGE.parents[1] / "images/keep.png", help="the file to draw")
    add("--page", type=Path, default=PAGE, help="the page that gets the table")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, and draw."""
    options = parse_arguments(argv)
    launch.prepare_process()
    for seed in range(options.seeds):
        folders = prepare(options.out, seed, options.scenes)
        for method in METHODS:
            for remedy in TRAINED:
                run(folders, seed, method, remedy, options)
    draw(read_rows(options.out, options.seeds), options.figure, options.page)


def draw(rows: Rows, figure: Path, page: Path) -> None:
    """Write the figure, and the table into a page."""
    write_figure(figure, figure_of(rows), 110)
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(f"({re.escape(START)}).*({re.escape(END)})", re.DOTALL)
    write_whole(page, pattern.sub(lambda match: f"{match[1]}\n{table(rows)}\n{match[2]}", text))


if __name__ == "__main__":
    main()
