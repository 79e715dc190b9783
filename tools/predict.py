"""Segment pictures into words: python tools/predict.py IMAGE... --vocab "cat, grass, traffic light"."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.runner import find_latest_checkpoint
from PIL import Image
from tqdm import tqdm

from hclip_mmseg.apis import OpenVocabInferencer, Segmentation, images, launch
from hclip_mmseg.apis.memory import keep_freed_memory
from hclip_mmseg.apis.paths import locate
from hclip_mmseg.datasets.vocabularies import read_names
from hclip_mmseg.visualization import write_label_map

TINY = "configs/hclip/hclip_tiny_scenes.py"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write pictures in colours with a legend, and label maps.")
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
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (a GPU where there is one)")
    return parser.parse_args()


def choose_checkpoint(args: argparse.Namespace) -> str | None:
    """The checkpoint asked for, else the latest of the config's own runs, else none."""
    if args.checkpoint:
        return args.checkpoint
    runs = locate(Path("work_dirs") / Path(args.config).stem)
    latest = find_latest_checkpoint(runs) if runs else None
    if latest:
        print(f"using {latest}")
    else:
        print(f"no trained checkpoint of {args.config} found: using its frozen CLIP, without a trained head")
    return latest


def name_results(paths: list[Path]) -> dict[str, str]:
    """Picture -> the name of its results; the suffix is kept where two would have one name."""
    stems = [path.stem for path in paths]
    unique = {stem for stem in stems if stems.count(stem) == 1}
    return {
        str(path): path.stem if path.stem in unique else f"{path.parent.name}_{path.name}" for path in paths
    }


def write_results(result: Segmentation, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(result.overlay()).save(folder / f"{name}_overlay.png")
    write_label_map(folder / f"{name}_labels.png", result.labels, len(result.vocabulary))


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    keep_freed_memory()
    with launch.clear_errors():
        names = read_names(args.vocab)
        paths = images.list_images(args.images)
        inferencer = OpenVocabInferencer(args.config, choose_checkpoint(args), args.device)
        inferencer.set_vocabulary(names, args.templates)

    failed: list[tuple[str, Exception]] = []
    results_of, folder = name_results(paths), Path(args.out_dir)
    bar = tqdm(paths, unit="picture", disable=None)
    for path in bar:
        for result in inferencer([path], on_error=lambda source, error: failed.append((source, error))):
            write_results(result, folder, results_of[str(path)])
            found = ", ".join(f"{word} {share:.0%}" for word, share in list(result.shares().items())[:5])
            bar.write(f"{path}: {found}")
    for _, error in failed:
        print(f"error: {error}", file=sys.stderr)
    print(f"{len(paths) - len(failed)} of {len(paths)} pictures done, results in {folder}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
