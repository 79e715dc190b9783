"""A miniature panoptic data set in COCO's form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

CATEGORIES = (
    dict(id=7, name="cat", isthing=1),
    dict(id=3, name="red star", isthing=1),
    dict(id=90, name="grass-merged", isthing=0),
    dict(id=12, name="sky", isthing=0),
)
"""Ids in no order, as COCO's have gaps."""


def scene(kind: int, size: tuple[int, int] = (64, 80)) -> tuple[np.ndarray, list[dict]]:
    """Ids [H, W] and segments of an image: two cats and a star, or a cat in a crowd, before grass and sky."""
    height, width = size
    ids = np.full(size, 40, np.int32)
    ids[height // 2 :] = 70_000
    ids[:2] = 0
    segments = [dict(id=40, category_id=12), dict(id=70_000, category_id=90)]
    ids[20:40, 10:30], ids[40:60, 50:70] = 300, 5
    segments += [dict(id=300, category_id=7), dict(id=5, category_id=7 if kind else 3)]
    for segment in segments:
        rows, columns = np.nonzero(ids == segment["id"])
        x, y = int(columns.min()), int(rows.min())
        segment["bbox"] = [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y]
        segment.update(area=len(rows), iscrowd=int(kind == 2 and segment["id"] == 5))
    return ids, segments


def as_colours(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids % 256, ids // 256 % 256, ids // 256**2], axis=-1).astype(np.uint8)


def write_panoptic(root: Path, images: int = 3) -> Path:
    """Images, label maps, and ``panoptic.json`` of train and val."""
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        listed, annotations = [], []
        for folder in (root / split, root / f"panoptic_{split}"):
            folder.mkdir(parents=True)
        for index in range(images):
            ids, segments = scene(index % 3)
            noise = generator.integers(0, 60, (*ids.shape, 3))
            image = (as_colours(ids * 7919 % 256**3) // 2 + noise).astype(np.uint8)
            Image.fromarray(image).save(root / split / f"{index:06}.jpg")
            Image.fromarray(as_colours(ids)).save(root / f"panoptic_{split}/{index:06}.png")
            listed.append(dict(id=100 + index, file_name=f"{index:06}.jpg", height=ids.shape[0], width=ids.shape[1]))
            annotations.append(dict(image_id=100 + index, file_name=f"{index:06}.png", segments_info=segments))
        content = dict(images=listed, annotations=annotations, categories=CATEGORIES)
        (root / f"panoptic_{split}.json").write_text(json.dumps(content))
    return root
