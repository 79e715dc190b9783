"""Panoptic data sets: read, checked, and evaluated."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from miniature_panoptic import CATEGORIES, as_colours, scene, write_panoptic
from mmdet.datasets import CocoPanopticDataset
from mmengine.registry import init_default_scope
from PIL import Image

from hclip_mmseg.compat.panoptic_api import PQStat, ensure_panopticapi, id2rgb, rgb2id
from hclip_mmseg.datasets.preparation.panoptic import Annotation, check_annotation
from hclip_mmseg.datasets.preparation.processes import Options
from hclip_mmseg.engine import VocabularyHook
from hclip_mmseg.mask_classification import OpenVocabPanopticDataset, OpenVocabPanopticMetric, ScenePanopticMetric
from hclip_mmseg.vocabularies import load_vocabulary

NAMES = tuple(category["name"] for category in CATEGORIES)
VOID = len(NAMES)


@pytest.fixture
def root(tmp_path):
    init_default_scope("mmdet")
    return write_panoptic(tmp_path / "data")


def dataset(root, split="val", pipeline=(), **kwargs) -> OpenVocabPanopticDataset:
    prefix = dict(img=f"{split}/", seg=f"panoptic_{split}/")
    return OpenVocabPanopticDataset(
        data_root=str(root), ann_file=f"panoptic_{split}.json", data_prefix=prefix, pipeline=list(pipeline), **kwargs
    )


def rewrite(root, change, split="val") -> None:
    path = root / f"panoptic_{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_ids_and_colours_are_each_others_inverse():
    ids = np.array([[0, 1, 255], [256, 70_000, 256**3 - 1]])
    assert np.array_equal(rgb2id(id2rgb(ids)), ids)
    assert id2rgb(np.array([70_000]))[0].tolist() == [112, 17, 1]
    assert np.array_equal(as_colours(ids), id2rgb(ids))


def test_stand_in_is_where_mmdet_looks():
    if not ensure_panopticapi():
        pytest.skip("panopticapi is installed here")
    from mmdet.evaluation.metrics import coco_panoptic_metric

    assert coco_panoptic_metric.PQStat is PQStat


def test_categories_and_their_order_are_the_files(root):
    found = dataset(root)
    meta = found.metainfo
    assert meta["classes"] == NAMES == meta["vocabulary"]
    assert meta["thing_classes"] == NAMES[:2] and meta["stuff_classes"] == NAMES[2:]
    first = found.get_data_info(0)
    assert {(s["id"], s["category"], bool(s["is_thing"])) for s in first["segments_info"]} == {
        (40, 3, False), (70_000, 2, False), (300, 0, True), (5, 1, True)
    }  # fmt: skip
    crowd = found.get_data_info(2)
    assert [bool(s["is_thing"]) for s in crowd["segments_info"]] == [False, False, True, False]
    assert [instance["bbox"] for instance in crowd["instances"]] == [[10, 20, 30, 40]]


def test_coco_panoptic_has_words_for_each_category():
    vocabulary = load_vocabulary("coco_panoptic_133")
    assert vocabulary.categories == CocoPanopticDataset.METAINFO["classes"]
    words = [word for synonyms in vocabulary.synonyms for word in synonyms]
    assert len(vocabulary) == 133 and not any("-" in word or "merged" in word for word in words)
    assert len(set(words)) == len(words)


def test_words_follow_the_category_and_not_its_place(root):
    rewrite(root, lambda content: content["categories"][1].update(name="bird"))
    with pytest.raises(ValueError, match="'sky', which the vocabulary coco_panoptic_133 has no words for"):
        dataset(root, vocabulary="coco_panoptic_133")
    rewrite(root, lambda content: content["categories"][3].update(name="sky-other-merged"))
    meta = dataset(root, vocabulary="coco_panoptic_133").metainfo
    assert meta["vocabulary"] == ("cat", "bird", "grass", "sky") and meta["classes"][2] == "grass-merged"


def test_masks_and_labels_are_the_files(root):
    load = [dict(type="LoadImageFromFile"), dict(type="mmseg.LoadPanopticSegments")]
    item = dataset(root, pipeline=load, test_mode=True)[1]
    ids, _ = scene(1)
    labels = np.select([ids == 40, ids == 70_000, ids == 0], [3, 2, 255], 0)
    assert np.array_equal(item["gt_seg_map"], labels)
    assert np.array_equal(item["gt_masks"].masks, [ids == 300, ids == 5])
    assert item["gt_bboxes_labels"].tolist() == [0, 0]


def test_a_file_that_does_not_match_its_label_maps_is_one_error(root):
    path = root / "panoptic_val/000001.png"
    ids, _ = scene(1)
    whole = path.read_bytes()

    Image.fromarray(as_colours(np.where(ids == 5, 6, ids))).save(path)
    with pytest.raises(ValueError, match=r"000001.png does not match .* segment 6 is in the label map and not"):
        dataset(root)
    late = dataset(root, samples=1, pipeline=[dict(type="LoadImageFromFile"), dict(type="mmseg.LoadPanopticSegments")])
    with pytest.raises(ValueError, match="000001.png does not match"):
        late[1]

    Image.fromarray(as_colours(np.where(ids == 5, 40, ids))).save(path)
    with pytest.raises(ValueError, match=r"segment 5 is in the annotation file and not in the label map \(1 such"):
        dataset(root)
    Image.fromarray(as_colours(ids[:-1])).save(path)
    with pytest.raises(ValueError, match="63 x 80, the annotation file says 64 x 80"):
        dataset(root)
    path.unlink()
    with pytest.raises(ValueError, match=r"1 of 3 label maps of .*, the first .*000001.png"):
        dataset(root)
    path.write_bytes(whole)
    dataset(root)


def test_broken_annotation_files_are_named(root):
    good = (root / "panoptic_val.json").read_text()
    rewrite(root, lambda content: content["annotations"][1]["segments_info"][0].update(category_id=8))
    with pytest.raises(ValueError, match="segment 40 of image 101 is of category 8"):
        dataset(root)
    (root / "panoptic_val.json").write_text(good)
    rewrite(root, lambda content: content["categories"][0].update(name="sky"))
    with pytest.raises(ValueError, match="a thing and stuff that are both called 'sky'"):
        dataset(root)
    (root / "panoptic_val.json").write_text(json.dumps(dict(annotations=[dict(image_id=3, bbox=[0, 0, 1, 1])])))
    with pytest.raises(ValueError, match="no panoptic annotation file"):
        dataset(root)
    (root / "panoptic_val.json").write_text(good[:-5])
    with pytest.raises(ValueError, match="no panoptic annotation file"):
        dataset(root)


def evaluate(root, predictions, **kwargs) -> dict[str, float]:
    found = dataset(root, test_mode=True)
    metric = OpenVocabPanopticMetric(**kwargs)
    metric.dataset_meta = found.metainfo
    for index, ids in enumerate(predictions):
        entry = found.get_data_info(index)
        result = dict(sem_seg=torch.from_numpy(ids.astype(np.int32))[None])
        kept = {key: entry[key] for key in ("img_id", "img_path", "seg_map_path", "segments_info")}
        metric.process({}, [dict(kept, ori_shape=ids.shape, pred_panoptic_seg=copy.deepcopy(result))])
    return metric.evaluate(len(predictions))


def as_prediction(ids: np.ndarray, labels: dict[int, int]) -> np.ndarray:
    """Ground truth as a perfect model gives it."""
    found = np.full(ids.shape, VOID)
    for number, (own, label) in enumerate(labels.items(), start=1):
        found[ids == own] = label + 1000 * number
    return found


TRUTH = ({40: 3, 70_000: 2, 300: 0, 5: 1}, {40: 3, 70_000: 2, 300: 0, 5: 0}, {40: 3, 70_000: 2, 300: 0})


def test_panoptic_quality_of_the_truth_is_100(root):
    perfect = [as_prediction(scene(kind)[0], labels) for kind, labels in enumerate(TRUTH)]
    found = evaluate(root, perfect)
    assert {key: round(value, 6) for key, value in found.items()} == {
        f"coco_panoptic/{key}{part}": 100.0 for key in ("PQ", "SQ", "RQ") for part in ("", "_th", "_st")
    }


def test_panoptic_quality_is_the_hand_computation(root):
    predictions = [as_prediction(scene(kind)[0], labels) for kind, labels in enumerate(TRUTH)]
    # image 0: the cat is 20 x 20 = 400 pixels; 100 of them go to a second cat, which matches nothing
    predictions[0][20:40, 25:30] = 0 + 1000 * 9
    # the star is called a cat: one star missed, one cat in vain
    predictions[0][predictions[0] == 1 + 1000 * 4] = 0 + 1000 * 8
    # image 1: no sky at all; it becomes void but for the part that the cat keeps
    predictions[1][predictions[1] == 3 + 1000] = VOID
    # image 2: a cat over the crowd of cats, which is not counted either way; and grass over the unlabelled rows
    predictions[2][40:60, 50:70] = 0 + 1000 * 7
    predictions[2][:2] = 2 + 1000 * 2
    found = evaluate(root, predictions)

    cat = dict(tp=1 + 2 + 1, fp=1 + 1, fn=0, iou=300 / 400 + 2 + 1)
    star = dict(tp=0, fp=0, fn=1, iou=0.0)
    grass = dict(tp=3, fp=0, fn=0, iou=3.0)
    sky = dict(tp=2, fp=0, fn=1, iou=2.0)
    rows = []
    for c in (cat, star, grass, sky):
        counted = c["tp"] + c["fp"] / 2 + c["fn"] / 2
        rows.append((c["iou"] / counted, c["iou"] / c["tp"] if c["tp"] else 0.0, c["tp"] / counted))
    rows = 100 * np.array(rows)
    for part, chosen in (("", rows), ("_th", rows[:2]), ("_st", rows[2:])):
        for key, value in zip(("PQ", "SQ", "RQ"), chosen.mean(axis=0), strict=True):
            assert found[f"coco_panoptic/{key}{part}"] == pytest.approx(value, abs=1e-6), key + part


def test_results_without_segments_are_named(root):
    metric = OpenVocabPanopticMetric()
    with pytest.raises(ValueError, match=r"model.test_cfg.panoptic=True"):
        metric.process({}, [dict(img_path="a.jpg")])
    with pytest.raises(ValueError, match="a.jpg has no panoptic label map"):
        metric.process({}, [dict(img_path="a.jpg", pred_panoptic_seg=dict())])


def test_seen_and_unseen_classes_are_told_apart(root):
    predictions = [as_prediction(scene(kind)[0], labels) for kind, labels in enumerate(TRUTH)]
    predictions[0][predictions[0] == 1 + 1000 * 4] = VOID  # the only star
    found = evaluate(root, predictions, seen_classes=("Cat", "sky-other-merged"))
    assert found["coco_panoptic/PQ_seen"] == pytest.approx(100) and found["coco_panoptic/PQ"] == pytest.approx(75)
    assert found["coco_panoptic/PQ_unseen"] == pytest.approx(50)  # grass, and no star
    assert "coco_panoptic/PQ_seen" not in evaluate(root, predictions)


def test_the_pixels_of_a_scenes_label_are_a_segment():
    metric = ScenePanopticMetric()
    metric.dataset_meta = dict(classes=("cat", "grass", "star"), thing_classes=("cat", "star"), held_out=("star",))
    labels = torch.full((1, 8, 8), 1)
    labels[0, :4, :4], labels[0, 6:, 6:], labels[0, 0] = 0, 2, 255
    ids = torch.full((1, 8, 8), 1001, dtype=torch.int32)
    ids[0, :4, :4], ids[0, 6:, 6:] = 1000, 2000  # the star is called a cat
    sample = dict(img_path="scene_val_00000.png", ori_shape=(8, 8), gt_sem_seg=dict(data=labels))
    metric.process({}, [dict(sample, pred_panoptic_seg=dict(sem_seg=ids))])
    found = {key.removeprefix("coco_panoptic/"): value for key, value in metric.evaluate(1).items()}
    assert found["PQ_seen"] == pytest.approx(100 * (1 / 1.5 + 1) / 2) and found["PQ_unseen"] == 0
    assert found["PQ"] == pytest.approx(100 * (1 / 1.5 + 1 + 0) / 3) and found["SQ_st"] == pytest.approx(100)


def test_a_model_is_asked_for_the_words_and_told_what_is_counted(root):
    rewrite(root, lambda content: content["categories"][1].update(name="tv"))
    rewrite(root, lambda content: content["categories"][3].update(name="sky-other-merged"))
    found = dataset(root, vocabulary="coco_panoptic_133")
    asked = []
    model = SimpleNamespace(set_vocabulary=asked.append)
    loader = SimpleNamespace(dataset=found)
    VocabularyHook().before_train(SimpleNamespace(model=model, train_dataloader=loader))
    assert [vocabulary.titles for vocabulary in asked] == [("cat", "tv, television", "grass", "sky")]
    assert asked[0].things == (True, True, False, False)


def test_space_around_a_categorys_name_is_none_of_it(root):
    rewrite(root, lambda content: content["categories"][1].update(name="window "))
    meta = dataset(root).metainfo
    assert meta["classes"][1] == meta["thing_classes"][1] == meta["vocabulary"][1] == "window"
    rewrite(root, lambda content: content["categories"][0].update(name=" window"))
    assert dataset(root).metainfo["classes"] == ("window", *NAMES[2:])


def test_categories_of_one_name_are_one_class(root):
    rewrite(root, lambda content: content["categories"][1].update(name="cat"))
    found = dataset(root)
    assert found.metainfo["classes"] == ("cat", *NAMES[2:]) and found.metainfo["thing_classes"] == ("cat",)
    things = [segment for segment in found.get_data_info(0)["segments_info"] if segment["is_thing"]]
    assert [segment["category"] for segment in things] == [0, 0]


def renamed(root, name) -> None:
    """Label maps as ``name`` calls them, of images in folders of their own and with other endings."""

    def change(content):
        for image, annotation in zip(content["images"], content["annotations"], strict=True):
            stem = image["file_name"].removesuffix(".jpg")
            (root / "val/town").mkdir(exist_ok=True)
            (root / "val" / image["file_name"]).rename(root / f"val/town/{stem}.JPEG")
            (root / "panoptic_val" / annotation["file_name"]).rename(root / "panoptic_val" / name(stem))
            image["file_name"], annotation["file_name"] = f"town/{stem}.JPEG", name(stem)

    rewrite(root, change)


@pytest.mark.parametrize("name", ["{}_GT.png", "{}_gtFine_panoptic.PNG", "{}.jpg.png", "{}.png"])
def test_label_maps_are_called_as_the_annotation_file_calls_them(root, name):
    """One rule for the check of preparation, the data set and the metric."""
    predictions = [as_prediction(scene(kind)[0], labels) for kind, labels in enumerate(TRUTH)]
    predictions[0][predictions[0] == 1 + 1000 * 4] = VOID
    usual = evaluate(root, predictions)
    renamed(root, name.format)
    annotation = Annotation(root / "panoptic_val.json", root / "panoptic_val", 3)
    assert check_annotation(annotation, Options()) == ["panoptic_val.json: 3 images; all label maps match it"]
    load = [dict(type="LoadImageFromFile"), dict(type="mmseg.LoadPanopticSegments")]
    item = dataset(root, pipeline=load, test_mode=True)[1]
    assert item["seg_map_path"] == str(root / "panoptic_val" / name.format("000001"))
    assert item["gt_masks"].masks.any()
    assert evaluate(root, predictions) == usual


@pytest.mark.parametrize("keys", [("area",), ("bbox",), ("area", "bbox"), ("iscrowd",)])
def test_what_segments_lack_comes_from_the_label_map(root, keys):
    def crowdless(content):
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                segment["iscrowd"] = 0

    def lose(content):
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                for key in keys:
                    del segment[key]

    rewrite(root, crowdless)
    whole = [dataset(root).get_data_info(index) for index in range(3)]
    rewrite(root, lose)
    assert [dataset(root).get_data_info(index) for index in range(3)] == whole
    if "area" not in keys:
        return
    with pytest.raises(ValueError, match=r"panoptic_val.json: segment 40 of image 100 lacks '.*data_prefix.seg"):
        OpenVocabPanopticDataset(data_root=str(root), ann_file="panoptic_val.json", data_prefix=dict(img="val/"))
    (root / "panoptic_val/000000.png").unlink()
    with pytest.raises(ValueError, match=r"segment 40 of image 100 lacks .*000000.png to take it from"):
        dataset(root)


def test_a_segment_that_is_a_line_is_in_the_file(root):
    """COCO's form gives what is one pixel wide a box without width, which MMDetection leaves out."""

    def narrow(content):
        for annotation in content["annotations"]:
            annotation["segments_info"].append(dict(id=9, category_id=7, bbox=[10, 10, 0, 8], area=8, iscrowd=0))

    rewrite(root, narrow)
    for kind in range(3):
        ids, _ = scene(kind)
        ids[10:18, 10] = 9
        Image.fromarray(as_colours(ids)).save(root / f"panoptic_val/{kind:06}.png")
    load = [dict(type="LoadImageFromFile"), dict(type="mmseg.LoadPanopticSegments")]
    item = dataset(root, pipeline=load, test_mode=True)[0]
    assert 9 not in {segment["id"] for segment in item["segments_info"]}
    assert (item["gt_seg_map"][10:18, 10] == 255).all()


def test_words_are_known_before_the_file_is_read(root):
    found = dataset(root, vocabulary="coco_panoptic_133", lazy_init=True)
    assert len(found.metainfo["vocabulary"]) == 133 and "tv, television" in found.metainfo["vocabulary"]
