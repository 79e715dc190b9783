"""A small COCO 2017 that tests make: official layout, official category ids, boxes of coloured rectangles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hclip_mmseg.vocabularies import load_vocabulary

COCO = load_vocabulary("coco_object_80").names
GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # ids that COCO does not use
IDS = [number for number in range(1, 91) if number not in GAPS]
SHOWN = ("person", "cat", "dog", "bottle", "tie", "wine glass")  # base, novel, left out


def write_coco(root: Path, train: int = 6, val: int = 4) -> Path:
    """Images of random sizes, each with boxes of ``SHOWN``; one of them a crowd, one thinner than a pixel."""
    random = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    categories = [dict(id=number, name=name) for number, name in zip(IDS, COCO, strict=True)]
    for split, count in (("train2017", train), ("val2017", val)):
        (root / split).mkdir()
        images, annotations = [], []
        for index in range(count):
            height, width = (int(side) for side in random.integers(60, 110, 2))
            image = random.integers(100, 156, (height, width, 3), dtype=np.uint8)
            names = SHOWN if index % 2 else SHOWN[::2]
            for name in names:
                x, y = (float(random.uniform(0, side - 35)) for side in (width, height))
                w, h = (float(side) for side in random.uniform(15, 34, 2))
                colour = np.random.default_rng(COCO.index(name)).integers(0, 256, 3)
                image[int(y) : int(y + h), int(x) : int(x + w)] = colour
                annotations.append(box(len(annotations), index, name, [x, y, w, h]))
            images.append(dict(id=100 + index, file_name=f"{index:012d}.jpg", height=height, width=width))
            Image.fromarray(image).save(root / split / f"{index:012d}.jpg")
        annotations[0]["iscrowd"] = 1
        annotations.append(box(len(annotations), 1, "person", [5.0, 5.0, 0.5, 20.0]))
        content = dict(info={}, licenses=[], images=images, annotations=annotations, categories=categories)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def box(number: int, image: int, name: str, bbox: list[float]) -> dict[str, Any]:
    category = IDS[COCO.index(name)]
    return dict(id=number + 1, image_id=100 + image, category_id=category, bbox=bbox, area=bbox[2] * bbox[3], iscrowd=0)
