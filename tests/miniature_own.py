"""Small annotated sets in every form that ``hclip-new-dataset`` takes: blocks of three classes and no class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_masks

NAMES = ("crack", "rust", "paint")
COLOURS = np.array([[200, 30, 40], [40, 180, 60], [50, 60, 200], [0, 0, 0]], np.uint8)
NONE = 3
HEIGHT, WIDTH = 48, 64


def blocks(count: int = 8, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Label maps of 2 x 2 blocks; 0 to 2 are the classes, 3 is none. Every image shows the first class and none."""
    random = np.random.default_rng(seed)
    maps = []
    for _ in range(count):
        cells = np.array([0, NONE, *random.integers(0, 4, 2)])
        random.shuffle(cells)
        maps.append(cells.reshape(2, 2).repeat(HEIGHT // 2, 0).repeat(WIDTH // 2, 1).astype(np.uint8))
    return maps


def write_images(folder: Path, maps: list[NDArray[np.uint8]]) -> Path:
    """Noisy images whose colours tell the classes."""
    random = np.random.default_rng(1)
    for index, labels in enumerate(maps):
        noise = random.integers(-20, 20, (HEIGHT, WIDTH, 3))
        image = np.clip(COLOURS[labels].astype(int) + 30 + noise, 0, 255).astype(np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"img_{index}.jpg")
    return folder


def save(path: Path, pixels: NDArray[np.generic], palette: bool = False) -> None:
    """A PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette(np.resize(COLOURS, (256, 3)).ravel().tolist())
    image.save(path)


def write_grey(folder: Path, maps: list[NDArray[np.uint8]], first: int = 0, palette: bool = False) -> Path:
    """Label maps; from 0 with 255 for none, or from 1 with 0 for none."""
    for index, labels in enumerate(maps):
        none = 0 if first else 255
        save(folder / f"img_{index}.png", np.where(labels == NONE, none, labels + first).astype(np.uint8), palette)
    return folder


def write_colours(folder: Path, maps: list[NDArray[np.uint8]]) -> Path:
    """CVAT's segmentation masks, with its table of colours."""
    for index, labels in enumerate(maps):
        save(folder / f"SegmentationClass/img_{index}.png", COLOURS[labels])
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    lines += [f"{name}:{','.join(map(str, colour))}::" for name, colour in zip(NAMES, COLOURS.tolist(), strict=False)]
    (folder / "labelmap.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_class_masks(folder: Path, maps: list[NDArray[np.uint8]], flat: bool = False) -> Path:
    """A mask of 0 and 255 for each class in an image."""
    for index, labels in enumerate(maps):
        for number, name in enumerate(NAMES):
            mask = np.where(labels == number, 255, 0).astype(np.uint8)
            if mask.any():
                save(folder / (f"img_{index}_{name}.png" if flat else f"{name}/img_{index}.png"), mask)
    return folder


def write_label_studio(folder: Path, maps: list[NDArray[np.uint8]]) -> Path:
    """Label Studio's masks, which do not name their image, and its JSON export, which does."""
    for index, labels in enumerate(maps):
        for number in np.unique(labels[labels != NONE]).tolist():
            mask = np.where(labels == number, 255, 0).astype(np.uint8)
            save(folder / f"task-{10 + index}-annotation-{index}-by-1-tag-{NAMES[number]}-0.png", mask)
    tasks = [dict(id=10 + i, data=dict(image=f"/data/upload/1/0a1b2c3d-img_{i}.jpg")) for i in range(len(maps))]
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder


def box_polygon(mask: NDArray[np.bool_]) -> list[float]:
    """The outline of a block."""
    rows, columns = np.nonzero(mask)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return [float(v) for v in (left, top, right, top, right, bottom, left, bottom)]


def cells_of(labels: NDArray[np.uint8]) -> list[tuple[int, NDArray[np.bool_]]]:
    """(class, mask) of each block of a class."""
    found = []
    for row in range(2):
        for column in range(2):
            mask = np.zeros((HEIGHT, WIDTH), bool)
            mask[row * HEIGHT // 2 : (row + 1) * HEIGHT // 2, column * WIDTH // 2 : (column + 1) * WIDTH // 2] = True
            number = int(labels[mask][0])
            if number != NONE:
                found.append((number, mask))
    return found


def write_coco(file: Path, maps: list[NDArray[np.uint8]], upload: bool = False) -> Path:
    """COCO instances: polygons, run lengths as lists (crowds) and as texts in turn."""
    images, annotations = [], []
    for index, labels in enumerate(maps):
        name = f"images/0a1b2c3d-img_{index}.jpg" if upload else f"img_{index}.jpg"
        images.append(dict(id=index, file_name=name, height=HEIGHT, width=WIDTH))
        for number, mask in cells_of(labels):
            kind = len(annotations) % 3
            runs = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
            outline = [box_polygon(mask)] if kind == 0 else dict(size=[HEIGHT, WIDTH], counts=runs["counts"].decode())
            if kind == 1:
                flat = mask.T.ravel()
                edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int), [0]])))
                counts = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
                outline = dict(size=[HEIGHT, WIDTH], counts=counts)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=index,
                    category_id=number + 1,
                    segmentation=outline,
                    bbox=[float(v) for v in coco_masks.toBbox(runs)],
                    area=float(mask.sum()),
                    iscrowd=int(kind == 1),
                )
            )
    categories = [dict(id=number + 1, name=name) for number, name in enumerate(NAMES)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return file


def write_panoptic(file: Path, maps: list[NDArray[np.uint8]]) -> Path:
    """COCO panoptic: a segment for each block of a class, void for none."""
    images, annotations = [], []
    for index, labels in enumerate(maps):
        ids = np.zeros((HEIGHT, WIDTH), np.int64)
        segments = []
        for place, (number, mask) in enumerate(cells_of(labels), 1):
            ids[mask] = 1000 * place
            segments.append(dict(id=1000 * place, category_id=number + 1))
        colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        save(file.with_suffix("") / f"img_{index}.png", colours)
        images.append(dict(id=index, file_name=f"img_{index}.jpg", height=HEIGHT, width=WIDTH))
        annotations.append(dict(image_id=index, file_name=f"img_{index}.png", segments_info=segments))
    categories = [dict(id=number + 1, name=name, isthing=1) for number, name in enumerate(NAMES)]
    file.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return file


def write_yolo(folder: Path, maps: list[NDArray[np.uint8]]) -> Path:
    """YOLO's text files of outlines, and data.yaml above them."""
    labels_folder = folder / "labels"
    labels_folder.mkdir(parents=True)
    for index, labels in enumerate(maps):
        lines = []
        for number, mask in cells_of(labels):
            corners = np.array(box_polygon(mask)).reshape(-1, 2) / (WIDTH, HEIGHT)
            lines.append(f"{number} " + " ".join(f"{value:.6f}" for value in corners.ravel()))
        (labels_folder / f"img_{index}.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text("names:\n" + "".join(f"  {i}: {name}\n" for i, name in enumerate(NAMES)))
    return labels_folder


CLASSES = ", ".join(NAMES)
FORMS: dict[str, tuple[Callable[[Path, list[NDArray[np.uint8]]], Path], str | None]] = {
    "grey": (lambda root, maps: write_grey(root / "masks", maps), CLASSES),
    "palette": (lambda root, maps: write_grey(root / "masks", maps, palette=True), CLASSES),
    "from 1": (lambda root, maps: write_grey(root / "masks", maps, first=1), CLASSES),
    "CVAT's colours": (lambda root, maps: write_colours(root / "masks", maps), None),
    "class folders": (lambda root, maps: write_class_masks(root / "masks", maps), CLASSES),
    "class endings": (lambda root, maps: write_class_masks(root / "masks", maps, flat=True), CLASSES),
    "Label Studio's masks": (lambda root, maps: write_label_studio(root / "masks", maps), CLASSES),
    "COCO": (lambda root, maps: write_coco(root / "instances.json", maps), None),
    "Label Studio's COCO": (lambda root, maps: write_coco(root / "export/result.json", maps, True).parent, None),
    "panoptic": (lambda root, maps: write_panoptic(root / "panoptic.json", maps), None),
    "YOLO": (lambda root, maps: write_yolo(root / "yolo", maps), None),
}
"""Form -> what writes it, given a folder and label maps, and the classes that have to be said of it."""
