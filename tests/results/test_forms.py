"""Results in the forms of others, and back: the same pixels."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy.ndimage import gaussian_filter

from hclip_mmseg.compat.panoptic_api import rgb2id
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.results import Boxes, Result, ResultWriter, Segment, check_formats, merge_parts, part_suffix
from hclip_mmseg.visualization import name_colours

NAMES = ("cat", "grass, lawn", "never", "traffic light")


def noisy_labels(seed: int = 0, size: tuple[int, int] = (48, 37), smooth: float = 1.0) -> np.ndarray:
    """Labels with regions in several parts, with holes, lines of one pixel and pixels without a class."""
    noise = np.random.default_rng(seed).normal(size=(3, *size))
    labels = np.array([0, 1, 3])[gaussian_filter(noise, (0, smooth, smooth)).argmax(axis=0)]
    labels[20:23, 5:30] = 255
    labels[40, :] = 3
    return labels


def result_of(labels: np.ndarray, **fields) -> Result:
    image = np.random.default_rng(1).integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
    return Result("folder/park.jpg", image, NAMES, labels, **fields)


@pytest.fixture
def segmented() -> Result:
    labels = noisy_labels()
    certainty = np.where(labels == 0, 0.75, 0.5).astype(np.float32)
    return result_of(labels, certainty=certainty)


@pytest.fixture
def panoptic() -> Result:
    labels = noisy_labels()
    ids = np.select([labels == 0, labels == 3], [70000, 2003], 0).astype(np.int32)
    ids[:, 20:][labels[:, 20:] == 0] = 1000
    segments = tuple(
        Segment(number, label, True, NAMES[label], float((ids == number).mean()))
        for number, label in ((70000, 0), (1000, 0), (2003, 3))
    )
    return result_of(labels, ids=ids, segments=segments, things=(True, False, True, True))


@pytest.fixture
def detected() -> Result:
    boxes = Boxes(
        np.array([[2, 3, 12, 23], [0, 0, 5.5, 5.25], [1, 1, 30, 40]], np.float32),
        np.array([0.9, 0.4, 0.1], np.float32),
        np.array([3, 0, 3]),
    )
    return Result("street.png", np.zeros((48, 37, 3), np.uint8), NAMES, boxes=boxes)


def labels_from(annotations: list[dict], coco: COCO, shape: tuple[int, int]) -> np.ndarray:
    labels = np.full(shape, 255)
    for annotation in annotations:
        mask = coco.annToMask(annotation).astype(bool)
        assert (labels[mask] == 255).all(), "no pixel belongs to two classes"
        labels[mask] = annotation["category_id"] - 1
    return labels


@pytest.mark.parametrize("smooth", [0.0, 1.0, 4.0])
@pytest.mark.parametrize(("form", "file"), [("coco", "predictions.json"), ("polygons", "polygons.json")])
def test_pycocotools_reads_the_label_maps_back(form, file, smooth, tmp_path):
    maps = [noisy_labels(seed, smooth=smooth) for seed in range(2)]
    with ResultWriter(tmp_path, [form]) as writer:
        for number, labels in enumerate(maps):
            writer.add(result_of(labels), f"image {number}", image_id=10 + number)
    coco = COCO(str(tmp_path / file))
    assert [category["name"] for category in coco.loadCats([1, 2, 3, 4])] == list(NAMES)
    for number, labels in enumerate(maps):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=10 + number))
        assert np.array_equal(labels_from(annotations, coco, labels.shape), labels)


def test_regions_have_box_area_and_score(segmented):
    for entry in segmented.to_coco(7):
        mask = segmented.labels == entry["category_id"] - 1
        rows, columns = np.nonzero(mask)
        assert entry["area"] == mask.sum() and entry["image_id"] == 7
        x, y, width, height = entry["bbox"]
        assert (x, y, x + width, y + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert entry["score"] == (0.75 if entry["category_id"] == 1 else 0.5)
    assert [entry["category_id"] for entry in segmented.to_coco()] != [1, 2, 3, 4], "a class without pixels is none"


def test_pycocotools_takes_boxes_as_results(detected, tmp_path):
    detected.save(tmp_path, "coco")
    truth = COCO(str(tmp_path / "predictions.json"))
    loaded = truth.loadRes(detected.to_coco())
    assert [entry["bbox"] for entry in loaded.dataset["annotations"]] == [
        [2, 3, 10, 20],
        [0, 0, 5.5, 5.25],
        [1, 1, 29, 39],
    ]
    scores = [entry["score"] for entry in loaded.dataset["annotations"]]
    assert scores == pytest.approx([0.9, 0.4, 0.1]) and truth.getImgIds() == [1]


def read_panoptic(folder) -> tuple[dict, np.ndarray]:
    found = json.loads((folder / "panoptic.json").read_text())
    (annotation,) = found["annotations"]
    return found, rgb2id(np.asarray(Image.open(folder / "panoptic" / annotation["file_name"])))


def test_panoptic_files_hold_the_segments(panoptic, tmp_path):
    panoptic.save(tmp_path, ["panoptic"])
    found, ids = read_panoptic(tmp_path)
    assert np.array_equal(ids, panoptic.ids)
    info = found["annotations"][0]["segments_info"]
    assert {entry["id"] for entry in info} == set(np.unique(ids)) - {0}
    for entry in info:
        assert set(entry) == {"id", "category_id", "area", "bbox", "iscrowd"} and entry["iscrowd"] == 0
        mask = ids == entry["id"]
        rows, columns = np.nonzero(mask)
        assert entry["area"] == mask.sum()
        assert entry["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert [category["isthing"] for category in found["categories"]] == [1, 0, 1, 1]
    assert found["images"][0] == dict(id=1, file_name="park.jpg", width=37, height=48)


def test_a_label_map_in_panoptic_form_is_the_label_map_again(segmented, tmp_path):
    segmented.save(tmp_path, "panoptic")
    found, ids = read_panoptic(tmp_path)
    label_of = {entry["id"]: entry["category_id"] - 1 for entry in found["annotations"][0]["segments_info"]}
    assert np.array_equal(np.vectorize(lambda number: label_of.get(number, 255))(ids), segmented.labels)


def test_a_palette_image_holds_labels_colours_and_names(segmented, tmp_path):
    segmented.save(tmp_path, "labels", name="a")
    image = Image.open(tmp_path / "a_labels.png")
    assert image.mode == "P" and np.array_equal(np.asarray(image), segmented.labels)
    coloured = np.asarray(image.convert("RGB"))
    assert (coloured[segmented.labels == 3] == name_colours(NAMES)[3]).all()
    assert (coloured[segmented.labels == 255] == 0).all()
    assert json.loads(image.text["class names"]) == list(NAMES)
    listed = json.loads((tmp_path / "a.json").read_text())["classes"]
    assert {entry["index"]: entry["name"] for entry in listed} == {0: "cat", 1: "grass, lawn", 3: "traffic light"}
    assert all(tuple(entry["colour"]) == tuple(name_colours(NAMES)[entry["index"]]) for entry in listed)
    assert [entry["share"] for entry in listed] == pytest.approx(list(segmented.shares().values()), abs=1e-6)


def test_more_than_255_names_take_16_bits(tmp_path):
    names = tuple(f"word {number}" for number in range(300))
    labels = np.array([[0, 299], [65535, 255]])
    Result("a.png", np.zeros((2, 2, 3), np.uint8), names, labels).save(tmp_path, "labels")
    image = Image.open(tmp_path / "a_labels.png")
    assert np.array_equal(np.asarray(image), labels) and json.loads(image.text["class names"])[299] == "word 299"


def test_an_image_called_like_a_file_of_the_run_does_not_overwrite_it(segmented, tmp_path):
    segmented.save(tmp_path, "coco,json", name="predictions")
    assert len(COCO(str(tmp_path / "predictions.json")).getAnnIds()) == 3
    assert "classes" in json.loads((tmp_path / "predictions_image.json").read_text())


def test_a_table_has_a_row_for_everything_found(segmented, detected, tmp_path):
    with ResultWriter(tmp_path, ["csv"]) as writer:
        writer.add(segmented, "a")
        writer.add(detected, "b")
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert len(rows) == 3 + 3 and {row["image"] for row in rows} == {"folder/park.jpg", "street.png"}
    cats = next(row for row in rows if row["name"] == "cat")
    assert int(cats["area"]) == (segmented.labels == 0).sum()
    assert float(cats["share"]) == pytest.approx((segmented.labels == 0).mean(), abs=1e-6)
    assert rows[3]["name"] == "traffic light" and [rows[3][c] for c in ("x", "y", "width", "height")] == [
        "2.0", "3.0", "10.0", "20.0",
    ]  # fmt: skip


def test_a_run_that_is_broken_off_keeps_what_was_done(segmented, tmp_path):
    with pytest.raises(KeyboardInterrupt), ResultWriter(tmp_path, ["coco"]) as writer:
        writer.add(segmented, "a")
        raise KeyboardInterrupt
    assert len(COCO(str(tmp_path / "predictions.json")).getAnnIds()) == 3


def test_boxes_are_drawn_and_described(detected, tmp_path):
    detected.save(tmp_path, "json,overlay")
    (first, *_) = json.loads((tmp_path / "street.json").read_text())["boxes"]
    assert first == dict(index=3, name="traffic light", score=0.9, box=[2.0, 3.0, 12.0, 23.0])
    assert detected.best() == pytest.approx({"traffic light": 0.9, "cat": 0.4})
    assert len(detected.above(0.4).boxes) == 2
    assert np.array_equal(detected.overlay(min_score=0.95), detected.image)
    drawn = detected.overlay(min_score=0.5)
    assert (drawn[22:24, 2:13] == name_colours(NAMES)[3]).all(-1).any(), "the lower side of the best box"


def test_a_result_is_said_in_one_line(panoptic, detected):
    labels = np.zeros((20, 30), np.int64)
    labels[0, 0] = 1
    assert repr(result_of(labels)) == "Result('folder/park.jpg', 20 x 30 pixels: cat 100%, grass, lawn <1%)"
    assert repr(detected) == "Result('street.png', 48 x 37 pixels: traffic light 0.90, cat 0.40)"
    assert panoptic.summary(most=1).startswith("cat ") and "," not in panoptic.summary(most=1)
    assert result_of(np.full((20, 30), 255)).summary() == "nothing"


def test_without_formats_it_has_its_usual_files(segmented, panoptic, detected, tmp_path):
    for result in (segmented, panoptic, detected):
        result.save(tmp_path / result.source[:1], name="x")
    files = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.*")}
    assert {"f/x_labels.png", "f/x_overlay.png", "f/panoptic/x.png", "f/panoptic.json"} <= files
    assert {"s/x_overlay.png", "s/x.json"} <= files


def test_options_of_an_overlay(segmented, panoptic):
    with pytest.raises(ValueError, match="alpha is a number from 0 to 1, not 3"):
        segmented.overlay(alpha=3)
    plain = segmented.overlay(legend=False)
    both = segmented.overlay(legend=False, side_by_side=True)
    assert np.array_equal(both, np.concatenate([segmented.image, plain], axis=1))
    assert not np.array_equal(segmented.overlay(legend=False, names_on_regions=True), plain)
    assert np.array_equal(panoptic.overlay(), panoptic.overlay(names_on_regions=True))
    with_legend = segmented.overlay(side_by_side=True)
    assert with_legend.shape[0] >= 256 and (with_legend[:5, :5] == segmented.image[0, 0]).all()


def test_what_boxes_do_not_have_is_said(detected, tmp_path):
    with pytest.raises(ValueError, match="boxes have no format 'labels'; there are overlay"):
        detected.save(tmp_path / "new", "overlay,labels")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="no label map"):
        detected.to_pil()


@pytest.mark.parametrize("number", ["x", None, 1.5, float("nan"), True])
def test_weights_and_scores_that_are_none_are_refused_in_one_line(segmented, detected, number):
    with pytest.raises(InputError, match="^alpha is a number from 0 to 1, not "):
        segmented.overlay(alpha=number)
    with pytest.raises(InputError, match="^min_score is a number from 0 to 1, not "):
        detected.overlay(min_score=number)
    with pytest.raises(InputError, match="^score is a number from 0 to 1, not "):
        detected.above(number)


def test_an_id_of_0_is_an_id(segmented, tmp_path):
    with ResultWriter(tmp_path, ["coco", "panoptic"]) as writer:
        writer.add(segmented, "000", 0)
        writer.add(segmented, "001", 1, "other/park.jpg")
    for file in ("predictions.json", "panoptic.json"):
        written = json.loads((tmp_path / file).read_text())
        assert [(image["id"], image["file_name"]) for image in written["images"]] == [
            (0, "park.jpg"),
            (1, "other/park.jpg"),
        ]
        assert {annotation["image_id"] for annotation in written["annotations"]} == {0, 1}


@pytest.mark.parametrize(
    ("given", "said"), [
        ("labels,yolo", "no format 'yolo'; there are labels"),
        (" ,", "no format given"),
        (5, "formats are a text with commas or a list of texts, not 5"),
        ([None], "formats are a text with commas or a list of texts"),
    ],
)
def test_unknown_formats_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        check_formats(given)


def test_supervision_gets_masks_boxes_and_names(segmented, detected):
    pytest.importorskip("supervision", reason="supervision is not installed")
    found = segmented.to_detections()
    assert list(found.data["class_name"]) == [NAMES[label] for label in found.class_id]
    for mask, label in zip(found.mask, found.class_id, strict=True):
        assert np.array_equal(mask, segmented.labels == label)
    boxes = detected.to_detections()
    assert np.array_equal(boxes.xyxy, detected.boxes.corners) and boxes.mask is None
    assert boxes.confidence.tolist() == pytest.approx([0.9, 0.4, 0.1])


def test_run_lengths_are_those_of_pycocotools(segmented):
    entry = segmented.to_coco()[0]
    mask = coco_mask.decode(json.loads(json.dumps(entry))["segmentation"])
    assert np.array_equal(mask.astype(bool), segmented.labels == entry["category_id"] - 1)


def parts_of(folder, formats, images, own=None):
    """Writes each image's result as a part of its own; ``own`` replaces fields of the last one's."""
    for number, labels in enumerate(images, 1):
        result = result_of(labels)
        if own and number == len(images):
            result = replace(result, **own)
        with ResultWriter(folder, formats, part_suffix(number, len(images))) as writer:
            writer.add(result, f"image {number}", image_id=number)


def test_parts_put_together_are_the_whole_run(tmp_path):
    formats, images = ["coco", "polygons", "panoptic", "csv"], [noisy_labels(seed) for seed in range(3)]
    with ResultWriter(tmp_path / "whole", formats) as writer:
        for number, labels in enumerate(images, 1):
            writer.add(result_of(labels), f"image {number}", image_id=number)
    parts_of(tmp_path / "parts", formats, images)
    written = merge_parts(tmp_path / "parts")
    assert len(written) == 4
    for file in written:
        assert file.read_text() == (tmp_path / "whole" / file.name).read_text()


def test_parts_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no files of parts"):
        merge_parts(tmp_path)
    images = [noisy_labels(seed) for seed in range(3)]
    parts_of(tmp_path, ["coco"], images, own=dict(vocabulary=("cat", "grass", "never", "tree")))
    with pytest.raises(ValueError, match="3-of-3.json is of other class names than predictions_1-of-3.json"):
        merge_parts(tmp_path)
    (tmp_path / "predictions_2-of-3.json").unlink()
    with pytest.raises(ValueError, match="lacks predictions_2-of-3.json"):
        merge_parts(tmp_path)
    parts_of(tmp_path, ["coco"], images[:2])
    with pytest.raises(ValueError, match="of runs in 2 and in 3 parts"):
        merge_parts(tmp_path)
    assert not (tmp_path / "predictions.json").exists()
