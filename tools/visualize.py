"""Show how CLIP segments without training, and how words and pictures lie to each other.

python tools/visualize.py IMAGE... --vocab "cat, grass" [--config CONFIG] [--points 120,80 30,40]
python tools/visualize.py --similarity CONFIG [--checkpoint FILE]

Of every picture: correlation heat maps of points before and after recovery, global patches by depth, regions before
and after denoising, the final masks. Of a data set: similarities of its classes, frozen and fine-tuned. All are PNG
files in one folder, gathered by its index.html.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image
from tqdm import tqdm

from hclip_mmseg.apis import OpenVocabInferencer, checks, images, launch
from hclip_mmseg.apis.inferencer import build_model
from hclip_mmseg.engine.memory import keep_freed_memory
from hclip_mmseg.training_free.class_similarity import class_embeddings
from hclip_mmseg.training_free.depth import GLOBAL
from hclip_mmseg.training_free.explanation import Explanation, explain
from hclip_mmseg.visualization import draw_overlay
from hclip_mmseg.visualization.correlation_figures import depth_figure, matrix_figure, point_figure
from hclip_mmseg.visualization.gallery import Section, write_gallery
from hclip_mmseg.visualization.overlay import beside

TINY = "configs/cliptrase/cliptrase_tiny_scenes.py"


def point_of(text: str) -> tuple[int, int]:
    x, y = text.split(",")
    return int(x), int(y)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write figures of correlations and one page that gathers them.")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="pictures, or folders of pictures")
    parser.add_argument("--vocab", help="words with commas between, a text file, or a benchmark's name")
    parser.add_argument("--config", default=TINY, help=f"config of CLIPtrase ({TINY})")
    parser.add_argument(
        "--points", nargs="+", type=point_of, metavar="X,Y", help="pixels to explain (the largest regions' middles)"
    )
    parser.add_argument("--similarity", metavar="CONFIG", help="compare the classes of this config's test data")
    parser.add_argument("--checkpoint", help="fine-tuned weights for --similarity, beside the frozen CLIP")
    parser.add_argument("--samples", type=int, default=50, help="pictures that --similarity looks at (50)")
    parser.add_argument("--out-dir", default="visualizations", help="folder for the figures (visualizations)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (a GPU where there is one)")
    args = parser.parse_args()
    if not args.images and not args.similarity:
        parser.error("nothing to show: give pictures with --vocab, or --similarity CONFIG")
    if args.images and not args.vocab:
        parser.error("give the words to look for with --vocab")
    return args


def draw_regions(shown: Explanation) -> np.ndarray:
    """The two region maps beside each other."""
    pictures = []
    for title, regions in (("before denoising", shown.raw_regions), ("after denoising", shown.regions)):
        labels = np.full(shown.labels.shape, 255) if regions is None else regions
        names = [f"region {index + 1}" for index in range(0 if regions is None else int(regions.max()) + 1)]
        pictures.append(draw_overlay(shown.image, labels, names, title=title))
    return beside(*pictures)


def draw_picture(shown: Explanation, folder: Path, name: str) -> list[tuple[str, str]]:
    """Writes the figures of one picture; (caption, file) of each."""
    maps = {
        "before: CLIP's attention": shown.attention,
        "recovered: self-correlation": shown.correlation,
        "denoised": shown.denoised,
    }
    files = {part: f"{name}_{part}.png" for part in ("masks", "points", "depth", "regions")}
    Image.fromarray(draw_overlay(shown.image, shown.labels, shown.vocabulary)).save(folder / files["masks"])
    Image.fromarray(draw_regions(shown)).save(folder / files["regions"])
    point_figure(shown.image, shown.points, maps).savefig(folder / files["points"], dpi=110)
    depth_figure(shown.image, shown.received, GLOBAL).savefig(folder / files["depth"], dpi=110)
    captions = {
        "masks": "Final masks.",
        "regions": "Regions before and after denoising.",
        "points": "What the patch at a point goes with, in the last block but one, before and after recovery.",
        "depth": "What every patch gets of the others' attention, block by block; 1 is an even share.",
    }
    return [(caption, files[part]) for part, caption in captions.items()]


def show_pictures(args: argparse.Namespace, folder: Path) -> tuple[list[Section], list[Exception]]:
    with launch.clear_errors():
        paths = images.list_images(args.images)
        inferencer = OpenVocabInferencer(args.config, device=args.device)
        if getattr(inferencer.model, "region_finder", None) is None:
            raise ValueError(f"{args.config} finds no regions: choose a config of CLIPtrase")
        inferencer.set_vocabulary(args.vocab)
    folder.mkdir(parents=True, exist_ok=True)
    sections, failed = [], []
    for number, path in enumerate(tqdm(paths, unit="picture", disable=None)):
        try:
            shown = explain(inferencer.model, images.read_image(path), args.points)
        except (ValueError, FileNotFoundError) as error:
            failed.append(error)
            continue
        sections.append(Section(path.name, draw_picture(shown, folder, f"{number:03d}_{path.stem}")))
    return sections, failed


def similarity_config(path: str) -> Config:
    """The config whose classes are compared, with all that it needs there."""
    config = launch.read_config(path)
    if "decode_head" not in config.model:
        raise ValueError(f"{path} trains nothing to be compared: give a config of a segmentor with a head")
    checks.check_run(config, ["test"])
    return config


def show_similarity(args: argparse.Namespace, config: Config, device: torch.device, folder: Path) -> Section:
    with launch.clear_errors():
        models = {"frozen": build_model(config).to(device)}
        if args.checkpoint:
            models["fine-tuned"] = build_model(config, args.checkpoint).to(device)
        dataset = DATASETS.build(config.test_dataloader.dataset)
    found = {name: class_embeddings(model, dataset, args.samples) for name, model in models.items()}
    names = next(iter(found.values())).names
    matrices = {
        model: {title: matrix.numpy() for title, matrix in embeddings.matrices().items()}
        for model, embeddings in found.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    matrix_figure(names, matrices).savefig(folder / "similarity.png", dpi=110)
    return Section("Similarity of classes", [(f"Cosines between {len(names)} classes.", "similarity.png")])


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    keep_freed_memory()
    folder, sections, failed = Path(args.out_dir), [], []
    with launch.clear_errors():  # before anything is drawn
        launch.check_writable(folder, "--out-dir")
        device = launch.choose_device(args.device)
        compared = similarity_config(args.similarity) if args.similarity else None
    if args.images:
        sections, failed = show_pictures(args, folder)
    if compared is not None:
        sections.append(show_similarity(args, compared, device, folder))
    for error in failed:
        print(f"error: {error}", file=sys.stderr)
    if sections:
        write_gallery(folder / "index.html", "Segmentation without training", sections)
        print(f"{len(sections)} sections in {folder / 'index.html'}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
