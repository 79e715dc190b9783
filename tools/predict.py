"""Find words in pictures: python tools/predict.py IMAGE... --vocab "cat, grass, traffic light" [--config CONFIG].

A segmentor's config gives overlays with a legend and label maps, a detector's gives drawn boxes and a list of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.runner import find_latest_checkpoint
from PIL import Image
from tqdm import tqdm

from hclip_mmseg.apis import OpenVocabInferencer, Segmentation, images, launch
from hclip_mmseg.apis.image_inferencer import ImageInferencer
from hclip_mmseg.engine.memory import keep_freed_memory
from hclip_mmseg.files.paths import locate
from hclip_mmseg.visualization import write_label_map
from hclip_mmseg.vocabularies import read_vocabulary

if TYPE_CHECKING:
    from hclip_mmseg.apis.detection_inferencer import Detections
    from hclip_mmseg.mask_classification.segments import PanopticSegmentation

TINY = "configs/hclip/hclip_tiny_scenes.py"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write pictures in colours and label maps, or with boxes.")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="pictures, or folders of pictures")
    parser.add_argument(
        "--vocab",
        required=True,
        help="words with commas between, a text file with one a line, or a benchmark's name (coco_stuff_171)",
    )
    parser.add_argument("--templates", help="prompts: scene, vild, imagenet, or a text with {}")
    parser.add_argument("--config", default=TINY, help=f"config of the model ({TINY})")
    parser.add_argument("--checkpoint", help="trained weights (the latest in work_dirs/<config>, if any)")
    parser.add_argument("--out-dir", default="predictions", help="folder for the results (predictions)")
    parser.add_argument("--panoptic", action="store_true", help="draw things one by one, and stuff (mask classifiers)")
    parser.add_argument(
        "--stuff", help="those of the words that --panoptic does not count one by one (those of coco_panoptic_133 ...)"
    )
    parser.add_argument("--min-score", type=float, default=0.3, help="of the boxes that are drawn (0.3)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (a GPU where there is one)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=launch.SettingAction,
        default={},
        metavar="KEY=VALUE",
        help="settings of the config to replace, such as model.test_cfg.score_threshold=0.2, or, for a checkpoint of "
        "tools/fold_adapters.py, model.backbone.adapter=None",
    )
    return parser.parse_args()


def choose_checkpoint(args: argparse.Namespace) -> str | None:
    """The checkpoint asked for, else the latest of the config's own runs, else none."""
    if args.checkpoint:
        return args.checkpoint
    runs = locate(Path("work_dirs") / Path(args.config).stem)
    latest = find_latest_checkpoint(runs) if runs else None
    if latest:
        print(f"using {latest}")
    return latest


def open_inferencer(args: argparse.Namespace) -> tuple[ImageInferencer, Callable[..., str]]:
    """What answers for the config, and what writes (result, folder, name) and returns the words found."""
    cfg, checkpoint = launch.read_config(args.config, ["model"]), choose_checkpoint(args)
    cfg.merge_from_dict(args.cfg_options)
    classifies_masks = cfg.get("default_scope") == "mmdet" and "roi_head" not in cfg.model
    if (args.panoptic or args.stuff) and not classifies_masks:
        raise ValueError(f"{args.config} gives no panoptic results: --panoptic takes a config that classifies masks")
    if "roi_head" in cfg.model:  # a head for regions: a detector
        from hclip_mmseg.apis.detection_inferencer import DetectionInferencer

        return DetectionInferencer(cfg, checkpoint, args.device), partial(write_detections, min_score=args.min_score)
    if classifies_masks:
        from hclip_mmseg.apis.panoptic_inferencer import PanopticInferencer

        inferencer = PanopticInferencer(cfg, checkpoint, args.device, panoptic=args.panoptic)
        return inferencer, partial(write_panoptic, segments=args.panoptic)
    if checkpoint is None and "decode_head" in cfg.model:
        print(f"no trained checkpoint of {args.config} found: using its CLIP as it is, without a trained head")
    return OpenVocabInferencer(cfg, checkpoint, args.device), write_segmentation


def name_results(paths: list[Path]) -> dict[str, str]:
    """Picture -> the name of its results: its stem, or, where others have that, as much of its path as it takes."""
    paths = list(dict.fromkeys(paths))
    parts = {path: path.relative_to(path.anchor).parts for path in paths}
    names = {path: path.stem for path in paths}
    for depth in range(2, max(map(len, parts.values()), default=0) + 2):
        counts = Counter(names.values())
        names |= {path: "_".join(parts[path][-depth:]) for path in paths if counts[names[path]] > 1}
    counts = Counter(names.values())
    return {
        str(path): name if counts[name] == 1 else f"{name}_{number}"
        for number, (path, name) in enumerate(names.items())
    }


def write_segmentation(result: Segmentation, folder: Path, name: str) -> str:
    """Writes overlay and label map; the words found, for the terminal."""
    Image.fromarray(result.overlay()).save(folder / f"{name}_overlay.png")
    write_label_map(folder / f"{name}_labels.png", result.labels, len(result.vocabulary))
    return ", ".join(f"{word} {share:.0%}" for word, share in list(result.shares().items())[:5])


def write_detections(result: Detections, folder: Path, name: str, min_score: float) -> str:
    """Writes the picture with its boxes and the list of all; the words found, for the terminal."""
    from hclip_mmseg.detection.box_files import write_boxes

    Image.fromarray(result.overlay(min_score)).save(folder / f"{name}_boxes.png")
    write_boxes(folder / f"{name}_boxes.json", result.instances, result.vocabulary)
    return ", ".join(f"{word} {score:.2f}" for word, score in list(result.best().items())[:5])


def write_panoptic(result: PanopticSegmentation, folder: Path, name: str, segments: bool) -> str:
    """Writes a mask classifier's result, panoptic or semantic; the words found, for the terminal."""
    if not segments:
        Image.fromarray(result.semantic_overlay()).save(folder / f"{name}_overlay.png")
        write_label_map(folder / f"{name}_labels.png", result.labels, len(result.vocabulary))
        return ", ".join(f"{word} {share:.0%}" for word, share in list(result.shares().items())[:5])
    Image.fromarray(result.overlay()).save(folder / f"{name}_panoptic.png")
    result.write(folder / f"{name}_ids.png", folder / f"{name}_ids.json")
    return ", ".join(f"{segment.title} {segment.share:.0%}" for segment in result.segments[:5]) or "nothing"


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    keep_freed_memory()
    with launch.clear_errors():
        vocabulary = read_vocabulary(args.vocab)
        paths = images.list_images(args.images)
        launch.check_writable(args.out_dir, "--out-dir")
        launch.choose_device(args.device)
        inferencer, write = open_inferencer(args)
        inferencer.set_vocabulary(vocabulary, args.templates, args.stuff)

    failed: list[tuple[str, Exception]] = []
    results_of, folder = name_results(paths), Path(args.out_dir)
    bar = tqdm(paths, unit="picture", disable=None)
    for path in bar:
        for result in inferencer([path], on_error=lambda source, error: failed.append((source, error))):
            folder.mkdir(parents=True, exist_ok=True)
            bar.write(f"{path}: {write(result, folder, results_of[str(path)])}")
    for _, error in failed:
        print(f"error: {error}", file=sys.stderr)
    print(f"{len(paths) - len(failed)} of {len(paths)} pictures done, results in {folder}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
