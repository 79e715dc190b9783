"""Damaged images, label maps, tables and lists end in a result or in one ValueError, and never in anything else."""

from __future__ import annotations

import io
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import damaged
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.io import savemat

from hclip_mmseg.apis.images import read_image
from hclip_mmseg.benchmarks.results import Results
from hclip_mmseg.datasets.annotation_files import read_instances, read_panoptic
from hclip_mmseg.datasets.label_maps import decode_label_map
from hclip_mmseg.datasets.panoptic import read_ids
from hclip_mmseg.datasets.preparation.ade20k_index import read_index
from hclip_mmseg.datasets.preparation.files import read_colours
from hclip_mmseg.datasets.preparation.pascal import read_phases
from hclip_mmseg.datasets.preparation.tables import read_matlab
from hclip_mmseg.files.images import read_size
from hclip_mmseg.training_free.sam_masks import read_masks
from hclip_mmseg.vocabularies import read_vocabulary

ROUNDS = 40
COLOURS = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
LABELS = (COLOURS[..., 0] % 7).astype(np.uint8)


def image(kind: str, pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def matlab(compressed: bool) -> bytes:
    file = io.BytesIO()
    savemat(file, {"LabelMap": LABELS.astype(np.uint16)}, do_compression=compressed)
    return file.getvalue()


def numpy_file() -> bytes:
    file = io.BytesIO()
    np.save(file, LABELS[None] > 2)
    return file.getvalue()


def run_lengths() -> list[dict[str, Any]]:
    mask = coco_mask.encode(np.asfortranarray(LABELS > 2))
    return [dict(segmentation=dict(size=mask["size"], counts=mask["counts"].decode()))]


CATEGORIES = [dict(id=1, name="cat", isthing=1), dict(id=2, name="sky", isthing=0)]
IMAGES = [dict(id=1, file_name="a.jpg", height=20, width=24)]
INSTANCES = dict(
    images=IMAGES,
    categories=CATEGORIES,
    annotations=[dict(id=1, image_id=1, category_id=1, segmentation=[[0, 0, 5, 0, 5, 5]])],
)
PANOPTIC = dict(INSTANCES, annotations=[dict(image_id=1, segments_info=[dict(id=3, category_id=2)])])
PHASES = dict(images=[dict(file_name="a.jpg", phase="train"), dict(file_name="b.jpg", phase="val")])
RESULTS = dict(
    about=dict(config="c.py", checkpoint="x.pth", checkpoint_sha256="0", settings={}),
    runs=[{}],
    measured=dict(a150=dict(metrics=dict(mIoU=1.0), classes=[], folders=[], settings={}, run=0)),
)
INDEX = dict(filename=["a.jpg"], folder=["ADE20K_2021/images/ADE/training/x"], objectnames=["wall", "sky"])


def take_up(path: Path) -> None:
    """What an evaluation does with the results that it finds."""
    results = Results(path)
    about = dict(checkpoint_sha256="1", settings={}, checkpoint="y.pth")
    results.remaining(["a150"], ["folder"])
    results.go_on_with(about, dict(a150={}))


READERS: dict[str, tuple[Callable[[Path], object], bytes]] = {
    **{
        f"image.{kind.lower()}": (read_image, image(kind, COLOURS))
        for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM")
    },
    "deep.png": (read_image, image("PNG", LABELS.astype(np.uint16))),
    "header.jpeg": (read_size, image("JPEG", COLOURS)),
    "labels.png": (lambda path: decode_label_map(path.read_bytes(), str(path)), image("PNG", LABELS)),
    "labels.tif": (lambda path: decode_label_map(path.read_bytes(), str(path)), image("TIFF", LABELS)),
    "colours.png": (read_colours, image("PNG", COLOURS)),
    "segments.png": (lambda path: read_ids(str(path)), image("PNG", COLOURS)),
    "labels.mat": (lambda path: read_matlab(path, ("LabelMap",)), matlab(False)),
    "compressed.mat": (lambda path: read_matlab(path, ("LabelMap",)), matlab(True)),
    "masks.npy": (lambda path: read_masks(path, LABELS.shape), numpy_file()),
    "masks.json": (lambda path: read_masks(path, LABELS.shape), json.dumps(run_lengths()).encode()),
    "instances.json": (read_instances, json.dumps(INSTANCES).encode()),
    "panoptic.json": (read_panoptic, json.dumps(PANOPTIC).encode()),
    "phases.json": (read_phases, json.dumps(PHASES).encode()),
    "results.json": (take_up, json.dumps(RESULTS).encode()),
    "index.pkl": (read_index, pickle.dumps(INDEX)),
    "names.txt": (read_vocabulary, "cat, kitten\nsky\nété\n".encode()),
}


ODD = (None, True, -1, 2**70, 1e308, "", "x", [], [[]], {}, {"id": []}, float("nan"))


def misshapen(value: Any, chosen: random.Random) -> Any:
    """A JSON value of which one part, at any depth, is something else, or is gone."""
    if isinstance(value, dict) and value and chosen.random() < 0.85:
        key = chosen.choice(list(value))
        if chosen.random() < 0.2:
            return {other: part for other, part in value.items() if other != key}
        return value | {key: misshapen(value[key], chosen)}
    if isinstance(value, list) and value and chosen.random() < 0.85:
        place = chosen.randrange(len(value))
        return [*value[:place], misshapen(value[place], chosen), *value[place + 1 :]]
    return chosen.choice(ODD)


def check(name: str, content: bytes, folder: Path) -> None:
    path = folder / name
    path.write_bytes(content)
    try:
        READERS[name][0](path)
    except ValueError as error:
        assert "\n" not in str(error) and name.split(".")[0] in str(error), error


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name, tmp_path):
    reader, whole = READERS[name]
    if name != "results.json":  # these are of another checkpoint
        check(name, whole, tmp_path)
        reader(tmp_path / name)
    for content in damaged(whole, random.Random(name), ROUNDS):
        check(name, content, tmp_path)


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith(".json")])
def test_json_of_another_form_is_read_or_refused(name, tmp_path):
    whole, chosen = json.loads(READERS[name][1]), random.Random(name)
    for _ in range(8 * ROUNDS):
        check(name, json.dumps(misshapen(whole, chosen)).encode(), tmp_path)


@pytest.mark.parametrize("content", ["[" * 200_000, '{"a":' * 200_000, "[" * 900 + "]" * 900, '"\\ud800"', "1" * 5000])
@pytest.mark.parametrize("name", [name for name in READERS if name.endswith(".json")])
def test_odd_json_is_refused(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=name.split(".")[0]):
        READERS[name][0](tmp_path / name)
