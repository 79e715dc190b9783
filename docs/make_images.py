"""Draw the image of README.md: a scene, its ground truth, and the label map of a trained H-CLIP.

    hclip-train configs/hclip/hclip_tiny_scenes.py
    python docs/make_images.py work_dirs/hclip_tiny_scenes/iter_540.pth

Regions are coloured over the grey image, so that a region's colour is never that of the object.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from mmseg.registry import DATASETS
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt

from hclip_mmseg.apis import OpenVocabInferencer
from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.visualization import class_shares, draw_overlay

CONFIG = "configs/hclip/hclip_tiny_scenes.py"
ENLARGED = 2
MARGIN = 12
SMALLEST = 0.01  # share of the image from which on a region gets its class name


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", help=f"trained weights of {CONFIG}")
    parser.add_argument("--scene", type=int, default=11, help="which scene of the validation data (11)")
    parser.add_argument("--out", default="docs/images/tiny_scenes.png", help="the file to write")
    return parser.parse_args()


def enlarge(image: NDArray, resample: Image.Resampling) -> NDArray:
    """Return an image or label map, uint8, ``ENLARGED`` times as large."""
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((width * ENLARGED, height * ENLARGED), resample))


def colour_regions(image: NDArray[np.uint8], labels: NDArray[np.uint8], names: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return the image in light grey with its regions coloured, each class name where its region is deepest."""
    grey = np.asarray(Image.fromarray(image).convert("L").convert("RGB"))
    light = (128 + grey.astype(np.float32) / 2).astype(np.uint8)
    drawn = Image.fromarray(draw_overlay(light, labels, names, alpha=0.5, legend=False))
    draw, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=17)
    for label, share in class_shares(labels, names):
        if share > SMALLEST:
            depth = distance_transform_edt(np.pad(labels == label, 1))[1:-1, 1:-1]
            y, x = np.unravel_index(depth.argmax(), depth.shape)
            text = names[label].replace(" ", "\n", 1)
            draw.text((x, y), text, "white", font, "mm", align="center", stroke_width=2, stroke_fill="black")
    return np.asarray(drawn)


def main() -> None:
    """Write the image."""
    args = parse_arguments()
    config = read_config(CONFIG, ["model", "val_dataloader"])
    inferencer = OpenVocabInferencer(config, args.checkpoint)
    scenes = DATASETS.build(config.val_dataloader.dataset)
    scene, names = scenes[args.scene], tuple(scenes.metainfo["classes"])
    image = np.ascontiguousarray(scene["inputs"].numpy().transpose(1, 2, 0))  # BGR, as the inferencer takes it
    truth = scene["data_samples"].gt_sem_seg.data[0].numpy().astype(np.uint8)
    found = next(inferencer([image], names)).labels.astype(np.uint8)

    large = enlarge(np.ascontiguousarray(image[..., ::-1]), Image.Resampling.BICUBIC)
    maps = [enlarge(labels, Image.Resampling.NEAREST) for labels in (truth, found)]
    panels = [large, *(colour_regions(large, labels, names) for labels in maps)]
    gap = np.full((large.shape[0], MARGIN, 3), 255, np.uint8)
    row = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(row).save(args.out, optimize=True)
    print(f"{args.out}: {(found == truth).mean():.1%} of the pixels are right")


if __name__ == "__main__":
    main()
