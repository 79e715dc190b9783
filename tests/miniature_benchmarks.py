"""Small copies of the benchmarks as their owners distribute them, with what every number in them means, by hand."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from hclip_mmseg.vocabularies import load_vocabulary

SIZES = {"first": (12, 20), "second": (16, 10)}
"""Name of an image for validation -> height, width; one for training has the size of the first."""

ADE_TITLES = load_vocabulary("ade20k_847").titles
# another order than the classes', with objects that are none of them in between, one of them nearly
ADE_OBJECTS = ["aardvark", *reversed(ADE_TITLES[:400]), "bag, sack", *reversed(ADE_TITLES[400:]), "zymometer"]
BAGS = ("bag", "bag, handbag, pocketbook, purse")
CONTEXT_NAMES = load_vocabulary("pascal_context_459").names

Numbers = NDArray[np.integer]


@dataclass(frozen=True)
class Owners:
    """A data set as its owners distribute it.

    Attributes:
        meaning: number in their files -> class, or "" where it is none.
        asked: word that a model is asked for -> the class that it counts as; only some words.
        write: (folder, split, name of an image, numbers) -> writes image and annotation.
        finish: (folder, split -> names) -> writes what lists the images.
        splits: their names for training and validation.
    """

    meaning: Mapping[int, str]
    asked: Mapping[str, str]
    write: Callable[[Path, str, str, Numbers], None]
    finish: Callable[[Path, Mapping[str, list[str]]], None] = lambda root, names: None
    splits: tuple[str, str] = ("train", "val")


def write_owners(owners: Owners, root: Path) -> dict[str, NDArray[np.str_]]:
    """Writes one image for training and two for validation.

    Returns:
        Name of an image for validation -> class of every pixel, "" where it has none.
    """
    random = np.random.default_rng(0)
    names = {owners.splits[0]: ["zeroth"], owners.splits[1]: list(SIZES)}
    truth = {}
    for split, of_split in names.items():
        for name in of_split:
            height, width = SIZES.get(name, SIZES["first"])
            numbers = random.choice(list(owners.meaning), (height // 2, width // 2)).repeat(2, 0).repeat(2, 1)
            owners.write(root, split, name, numbers)
            if split == owners.splits[1]:
                truth[name] = np.vectorize(owners.meaning.get, otypes=[object])(numbers)
    owners.finish(root, names)
    return truth


def same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def save(path: Path, pixels: NDArray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image = image.convert("P") if image.mode != "L" else image
        image.putpalette(bytes(range(256)) * 3)
    image.save(path)


def save_image(path: Path, numbers: Numbers) -> None:
    save(path, np.random.default_rng(1).integers(0, 256, (*numbers.shape, 3), dtype=np.uint8))


def write_ade_full(root: Path, split: str, name: str, numbers: Numbers) -> None:
    folder = root / "images/ADE" / split / "cultural/cave"
    save_image(folder / f"{name}.jpg", numbers)
    instance = np.arange(numbers.size).reshape(numbers.shape) % 200
    save(folder / f"{name}_seg.png", np.stack([numbers // 256 * 10, numbers % 256, instance], -1).astype(np.uint8))


def finish_ade_full(root: Path, names: Mapping[str, list[str]]) -> None:
    images = [(split, name) for split, of_split in names.items() for name in of_split]
    index = dict(
        filename=[f"{name}.jpg" for _, name in images],
        folder=[f"ADE20K_2021_17_01/images/ADE/{split}/cultural/cave" for split, _ in images],
        objectnames=ADE_OBJECTS,
        objectPresence=np.zeros((len(ADE_OBJECTS), len(images)), np.uint8),
        objectcounts=np.ones(len(ADE_OBJECTS)),
        scene=np.array(["/cultural/cave"] * len(images), dtype=object),
    )
    (root / "index_ade20k.pkl").write_bytes(pickle.dumps(index, protocol=4))


def write_ade(root: Path, split: str, name: str, numbers: Numbers) -> None:
    save_image(root / f"images/{split}/{name}.jpg", numbers)
    save(root / f"annotations/{split}/{name}.png", numbers.astype(np.uint8))


def write_context(root: Path, split: str, name: str, numbers: Numbers) -> None:
    save_image(root / f"JPEGImages/{name}.jpg", numbers)
    (root / "trainval").mkdir(exist_ok=True)
    savemat(root / f"trainval/{name}.mat", {"LabelMap": numbers.astype(np.uint16)})


def finish_context(root: Path, names: Mapping[str, list[str]]) -> None:
    images = [
        dict(file_name=f"{name}.jpg", phase=phase, image_id=number)
        for number, (phase, name) in enumerate((phase, name) for phase in names for name in names[phase])
    ]
    images.append(dict(file_name="hidden.jpg", phase="test", image_id=99))
    (root / "trainval_merged.json").write_text(json.dumps(dict(images=images, annos_segmentation=[])))


def write_voc(root: Path, split: str, name: str, numbers: Numbers) -> None:
    save_image(root / f"JPEGImages/{name}.jpg", numbers)
    save(root / f"SegmentationClass/{name}.png", numbers.astype(np.uint8), palette=True)


def finish_voc(root: Path, names: Mapping[str, list[str]]) -> None:
    for split, of_split in names.items():
        path = root / f"ImageSets/Segmentation/{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(of_split) + "\n")


def write_sbd(root: Path, name: str, numbers: Numbers) -> None:
    """SBD beside VOC 2012, and the image in the latter."""
    save_image(root / f"JPEGImages/{name}.jpg", numbers)
    folder = root.parent / "benchmark_RELEASE/dataset/cls"
    folder.mkdir(parents=True, exist_ok=True)
    content = dict(
        Boundaries=np.zeros((20, 1)), Segmentation=numbers.astype(np.uint8), CategoriesPresent=np.ones((1, 1))
    )
    savemat(folder / f"{name}.mat", {"GTcls": content})


def write_coco(root: Path, split: str, name: str, numbers: Numbers) -> None:
    save_image(root / f"images/{split}/{name}.jpg", numbers)
    save(root / f"annotations/{split}/{name}.png", numbers.astype(np.uint8))


def write_cityscapes(root: Path, split: str, name: str, numbers: Numbers) -> None:
    start = f"{split}/ulm/ulm_{name}_000019"
    save_image(root / f"leftImg8bit/{start}_leftImg8bit.png", numbers)
    save(root / f"gtFine/{start}_gtFine_labelIds.png", numbers.astype(np.uint8))


def write_mapillary(root: Path, split: str, name: str, numbers: Numbers) -> None:
    save_image(root / f"{split}/images/{name}.jpg", numbers)
    save(root / f"{split}/v1.2/labels/{name}.png", numbers.astype(np.uint8), palette=True)


def ade_full(*titles: str) -> dict[int, str]:
    return {ADE_OBJECTS.index(title) + 1: title for title in titles}


def context(*names: str) -> dict[int, str]:
    return {CONTEXT_NAMES.index(name) + 1: name for name in names}


VOC = {1: "aeroplane", 8: "cat", 11: "diningtable", 20: "tvmonitor"}
CITYSCAPES = {7: "road", 13: "fence", 24: "person", 33: "bicycle"}
COCO = {0: "person", 17: "dog", 23: "zebra", 58: "pizza", 88: "hair drier", 123: "grass", 152: "salad", 181: "wood"}
"""COCO's ids less one."""

OWNERS = {
    "A-847": Owners(
        {0: "", 1: "", ADE_OBJECTS.index("bag, sack") + 1: ""}
        | ade_full("wall", ADE_TITLES[254], ADE_TITLES[255], ADE_TITLES[256], ADE_TITLES[846], *BAGS),
        same("wall", ADE_TITLES[255], ADE_TITLES[846], *BAGS),
        write_ade_full,
        finish_ade_full,
        ("training", "validation"),
    ),
    "A-150": Owners(
        {0: "", 1: "wall", 2: "building", 150: "flag"},
        same("wall", "building", "flag", "sky"),
        write_ade,
        splits=("training", "validation"),
    ),
    "PC-459": Owners(
        {0: ""} | context("accordion", "aeroplane", CONTEXT_NAMES[255], CONTEXT_NAMES[458], "table"),
        same("accordion", "aeroplane", CONTEXT_NAMES[255], "table"),
        write_context,
        finish_context,
    ),
    "PC-59": Owners(
        {0: "", 1: "", 397: "diningtable"} | context("aeroplane", "bag", "wood"),
        same("aeroplane", "diningtable", "wood"),
        write_context,
        finish_context,
    ),
    "PC-60": Owners(
        {0: "background", 1: "background", 397: "diningtable"} | context("aeroplane", "wood"),
        same("aeroplane", "diningtable", "wood", "background"),
        write_context,
        finish_context,
    ),
    "PAS-20": Owners({0: "", 255: ""} | VOC, same("aeroplane", "cat", "tvmonitor", "dog"), write_voc, finish_voc),
    "PAS-20b": Owners(
        {0: "background", 255: ""} | VOC,
        same("aeroplane", "cat", "tvmonitor") | dict(bag="background", wood="background"),
        write_voc,
        finish_voc,
    ),
    "VOC21": Owners(
        {0: "background", 255: "background"} | VOC,  # outlines too
        same("aeroplane", "cat", "tvmonitor", "background") | dict(sky="background", fence="background"),
        write_voc,
        finish_voc,
    ),
    "COCO-Stuff": Owners(
        {255: ""} | COCO, same("person", "dog", "hair drier", "wood"), write_coco, splits=("train2017", "val2017")
    ),
    "COCO-Object": Owners(
        # unlabelled pixels and banners (the first stuff) are background, other stuff is ignored
        {255: "background", 0: "person", 17: "dog", 88: "hair drier", 91: "background", 92: "", 181: ""},
        same("person", "dog", "hair drier") | dict(wood="background", textile="background"),
        write_coco,
        splits=("train2017", "val2017"),
    ),
    "COCO-27": Owners(
        {255: "", 0: "person", 17: "animal", 23: "animal", 58: "food", 123: "plant", 152: "food-stuff", 181: "solid"},
        dict(person="person", zebra="animal", pizza="food", salad="food-stuff", tree="plant", rock="solid"),
        write_coco,
        splits=("train2017", "val2017"),
    ),
    "Cityscapes": Owners(
        {0: "", 4: "", 9: "", 14: "", 30: "", 255: ""} | CITYSCAPES,
        same("road", "fence", "person", "bicycle"),
        write_cityscapes,
    ),
    "Cityscapes-27": Owners(
        {0: "", 4: "", 6: "", 9: "parking", 14: "guard rail", 30: "trailer", 255: ""} | CITYSCAPES,
        same("road", "parking", "guard rail", "bicycle"),
        write_cityscapes,
    ),
    "Mapillary": Owners(
        {0: "bird", 13: "road", 64: "ego vehicle", 65: ""},
        same("bird", "road", "ego vehicle", "sky"),
        write_mapillary,
        splits=("training", "validation"),
    ),
}
"""Benchmark -> what its owners distribute."""
