"""Annotation files as people have them: what is computed, merged, refused, and that nothing else ever happens."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from hclip_mmseg.datasets.annotation_files import boxes_and_areas, read_instances, read_panoptic

IMAGES = [dict(id=1, file_name="a/1.jpg", height=48, width=64)]
BOXES = dict(
    images=IMAGES,
    categories=[dict(id=1, name="cat"), dict(id=2, name="dog")],
    annotations=[dict(id=5, image_id=1, category_id=2, bbox=[4, 6, 10, 20], area=150, iscrowd=0)],
)
SEGMENTS = dict(
    images=IMAGES,
    categories=[dict(id=1, name="crack", isthing=1), dict(id=2, name="wall", isthing=0)],
    annotations=[
        dict(
            image_id=1,
            file_name="1.png",
            segments_info=[dict(id=7, category_id=2, area=3072, bbox=[0, 0, 64, 48], iscrowd=0)],
        )
    ],
)
READERS = dict(boxes=(read_instances, BOXES), segments=(read_panoptic, SEGMENTS))


@pytest.fixture
def written(tmp_path):
    def write(content: Any):
        path = tmp_path / "own.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def without(content: dict[str, Any], *path: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    entry: Any = changed
    for step in path[:-1]:
        entry = entry[step]
    del entry[path[-1]]
    return changed


def replaced(content: dict[str, Any], value: Any, *path: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    entry: Any = changed
    for step in path[:-1]:
        entry = entry[step]
    entry[path[-1]] = value
    return changed


@pytest.mark.parametrize("kind", READERS)
def test_a_whole_file_is_read_as_it_is(kind, written):
    read, content = READERS[kind]
    assert read(written(content)) == content


@pytest.mark.parametrize(("key", "value"), [("area", 200), ("iscrowd", 0)])
def test_what_a_box_lacks_is_computed(key, value, written):
    found = read_instances(written(without(BOXES, "annotations", 0, key)))
    assert found["annotations"] == [dict(BOXES["annotations"][0], **{key: value})]


def test_a_box_and_its_area_come_from_the_polygons(written):
    triangle, square = [2, 2, 12, 2, 2, 22], [20, 30, 24, 30, 24, 34, 20, 34]
    content = replaced(BOXES, [triangle, square], "annotations", 0, "segmentation")
    content = without(without(content, "annotations", 0, "bbox"), "annotations", 0, "area")
    (found,) = read_instances(written(content))["annotations"]
    assert found["bbox"] == [2, 2, 22, 32] and found["area"] == 100 + 16


@pytest.mark.parametrize("compressed", [False, True])
def test_boxes_and_areas_of_run_lengths(written, compressed):
    mask = np.zeros((8, 10), np.uint8)
    mask[2:5, 3:9] = 1
    mask[2, 3] = 0
    runs = coco_masks.encode(np.asfortranarray(mask))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]])))
    counts = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
    outline = dict(size=[8, 10], counts=runs["counts"].decode() if compressed else counts)
    content = replaced(BOXES, outline, "annotations", 0, "segmentation")
    for key in ("bbox", "area", "iscrowd"):
        content = without(content, "annotations", 0, key)
    (found,) = read_instances(written(content))["annotations"]
    assert found["bbox"] == [3, 2, 6, 3] and found["area"] == 17 and found["iscrowd"] == 0


def test_damaged_run_lengths_are_named(written):
    outline = dict(size=[8, 10], counts="52")
    content = without(replaced(BOXES, outline, "annotations", 0, "segmentation"), "annotations", 0, "bbox")
    said = "entry 0 of annotations, id .* from its mask: its run lengths are damaged: they are of 7 pixels"
    with pytest.raises(ValueError, match=said):
        read_instances(written(content))


def test_boxes_and_areas_of_a_label_map():
    ids = np.zeros((6, 8), np.int32)
    ids[1:4, 2:7] = 70_000
    ids[5, 0] = ids[5, 7] = 3
    assert boxes_and_areas(ids) == {70_000: ([2, 1, 5, 3], 15), 3: ([0, 5, 8, 1], 2)}


def test_a_label_map_is_called_as_the_file_says_else_as_the_image(written):
    assert read_panoptic(written(SEGMENTS))["annotations"][0]["file_name"] == "1.png"
    found = read_panoptic(written(without(SEGMENTS, "annotations", 0, "file_name")))
    assert found["annotations"][0]["file_name"] == "a/1.png"


@pytest.mark.parametrize(
    ("kind", "path", "message"),
    [
        ("boxes", ("annotations", 0, "bbox"), "entry 0 of annotations, id 5 lacks 'bbox', and has no polygon"),
        ("boxes", ("annotations", 0, "id"), "entry 0 of annotations lacks 'id'"),
        ("boxes", ("annotations", 0, "category_id"), "entry 0 of annotations, id 5 lacks 'category_id'"),
        ("boxes", ("categories", 1, "name"), "entry 1 of categories, id 2 lacks 'name'"),
        ("boxes", ("images", 0, "width"), "entry 0 of images, id 1 lacks 'width'"),
        ("boxes", ("annotations",), "no COCO instances file: it lacks annotations"),
        ("segments", ("categories", 0, "isthing"), "entry 0 of categories, id 1, name 'crack' lacks 'isthing'"),
        ("segments", ("annotations", 0, "segments_info"), "entry 0 of annotations lacks 'segments_info'"),
        ("segments", ("annotations", 0, "segments_info", 0, "id"), "entry 0 of segments_info of image 1 lacks 'id'"),
    ],
)
def test_what_cannot_be_computed_is_named_with_file_and_entry(kind, path, message, written):
    read, content = READERS[kind]
    with pytest.raises(ValueError, match=rf"own\.json.*{message}"):
        read(written(without(content, *path)))


@pytest.mark.parametrize(
    ("kind", "path", "value", "message"),
    [
        ("boxes", ("categories", 0, "name"), ["cat"], r"has 'name' \['cat'\], which is no text"),
        ("boxes", ("annotations", 0, "category_id"), [], r"has 'category_id' \[\], which is no number or text"),
        ("boxes", ("annotations",), None, "its annotations is None, not a list of entries"),
        ("boxes", ("annotations",), [1, 2], "its annotations has as entry 0 1, which has no keys"),
        ("boxes", ("annotations", 0, "bbox"), [1, 2, 3], "has 'bbox' .*, not four numbers"),
        ("boxes", ("annotations", 0, "area"), "large", "has 'area' 'large', not a number"),
        ("segments", ("annotations", 0, "image_id"), 9, "is of the image 9, which the file's images do not list"),
        ("segments", ("annotations", 0, "segments_info", 0, "category_id"), 9, "segment 7 of image 1 is of category 9"),
        ("segments", ("categories", 0, "isthing"), "yes", "has 'isthing' 'yes', which is no whole number"),
    ],
)
def test_wrong_kinds_of_values_are_named(kind, path, value, message, written):
    read, content = READERS[kind]
    with pytest.raises(ValueError, match=rf"own\.json.*{message}"):
        read(written(replaced(content, value, *path)))


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("text", ["[" * 200_000, '{"images": [', "7", '"images annotations categories"', ""])
def test_what_is_no_such_file_is_one_line(kind, text, written):
    read, _ = READERS[kind]
    with pytest.raises(ValueError, match=r"own\.json is no ") as raised:
        read(written(text))
    assert len(str(raised.value)) < 400 and "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", READERS)
def test_categories_of_one_name_are_one_and_that_is_said(kind, written, monkeypatch):
    read, content = READERS[kind]
    said = []
    monkeypatch.setattr("hclip_mmseg.datasets.annotation_files.print_log", lambda text, **kwargs: said.append(text))
    last = content["categories"][1]
    content = replaced(content, [*content["categories"], dict(last, id=3, name=f" {last['name']}")], "categories")
    place = ("annotations", 0) if kind == "boxes" else ("annotations", 0, "segments_info", 0)
    found = read(written(replaced(content, 3, *place, "category_id")))
    assert found == READERS[kind][1]
    assert len(said) == 1
    assert said[0].endswith(f"own.json: categories 2 and 3 are both called '{last['name']}', and are taken as one")


def test_a_thing_and_stuff_of_one_name_are_refused(written):
    with pytest.raises(ValueError, match="a thing and stuff that are both called 'wall'"):
        read_panoptic(written(replaced(SEGMENTS, "wall", "categories", 0, "name")))


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value in a JSON document but the document itself."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


ODD = (None, True, -1, 1.5, float("nan"), 10**30, "", "x", [], [[]], [1, 2], {}, {"id": 1}, [{}])


@pytest.mark.parametrize("kind", READERS)
def test_any_change_ends_in_a_file_or_in_one_line(kind, written):
    read, content = READERS[kind]
    chosen = random.Random(0)
    for path in places(content):
        for change in (*(replaced(content, odd, *path) for odd in ODD), without(content, *path)):
            other = chosen.choice(list(places(change)))
            for changed in (change, replaced(change, chosen.choice(ODD), *other)):
                try:
                    read(written(changed))
                except ValueError as error:
                    assert "own.json" in str(error) and len(str(error)) < 400
