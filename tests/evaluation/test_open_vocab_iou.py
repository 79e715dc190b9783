"""IoU over seen and unseen classes, against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

from hclip_mmseg.costs.kernels import Kernels
from hclip_mmseg.evaluation import OpenVocabIoUMetric
from hclip_mmseg.evaluation.areas import areas
from hclip_mmseg.evaluation.seen_names import seen_in_training

CLASSES = ("cat", "dog", "sea", "sky", "ufo")


def by_hand(pairs, classes=CLASSES, ignore=255) -> dict[str, float]:
    """Name -> IoU in percent, pixel by pixel; only of classes that prediction or labels hold."""
    found = {}
    for index, name in enumerate(classes):
        both = either = 0
        for predicted, label in pairs:
            for p, t in zip(predicted.flatten().tolist(), label.flatten().tolist(), strict=True):
                if t == ignore:
                    continue
                both += p == t == index
                either += index in (p, t)
        if either:
            found[name] = 100 * both / either
    return found


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


@pytest.fixture
def pairs():
    """Two images; nothing is or is called a ufo; a pixel is ignored."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(2):
        label = torch.randint(0, 4, (6, 7), generator=generator)
        predicted = torch.where(torch.rand(6, 7, generator=generator) < 0.6, label, (label + 1) % 4)
        label[0, :3] = 255
        made.append((predicted, label))
    return made


def evaluate(metric: OpenVocabIoUMetric, pairs, **meta) -> dict[str, float]:
    metric.dataset_meta = dict(classes=CLASSES, **meta)
    for number, (predicted, label) in enumerate(pairs):
        sample = dict(
            pred_sem_seg=dict(data=predicted[None]),
            gt_sem_seg=dict(data=label[None]),
            seg_map_path=f"maps/{number}.png",
        )
        metric.process({}, [sample])
    return metric.evaluate(len(pairs))


@pytest.mark.parametrize("seen", [("cat", "sea", "ufo"), ("dog",)])
def test_means_over_seen_and_unseen(pairs, seen):
    iou = by_hand(pairs)
    assert set(iou) == {"cat", "dog", "sea", "sky"} and len(set(iou.values())) == 4
    found = evaluate(OpenVocabIoUMetric(seen_classes=seen), pairs)
    assert found["mIoU"] == pytest.approx(mean(iou.values()), abs=0.01)
    assert found["mIoU_seen"] == pytest.approx(mean(v for n, v in iou.items() if n in seen), abs=0.01)
    assert found["mIoU_unseen"] == pytest.approx(mean(v for n, v in iou.items() if n not in seen), abs=0.01)


def test_the_dataset_may_say_what_is_held_out(pairs):
    iou = by_hand(pairs)
    found = evaluate(OpenVocabIoUMetric(), pairs, held_out=("sky", "ufo"))
    assert found["mIoU_unseen"] == pytest.approx(iou["sky"], abs=0.01)
    assert found["mIoU_seen"] == pytest.approx(mean(v for n, v in iou.items() if n != "sky"), abs=0.01)


def test_a_stray_pixel_of_a_class_that_is_not_there_counts_in_one_mean_alone(pairs):
    predicted, _ = pairs[0]
    predicted[-1, -1] = CLASSES.index("ufo")
    iou = by_hand(pairs)
    assert iou["ufo"] == 0
    found = evaluate(OpenVocabIoUMetric(), pairs)
    assert found["mIoU"] == pytest.approx(mean(iou.values()), abs=0.01)
    assert found["mIoU_labelled"] == pytest.approx(mean(v for n, v in iou.items() if n != "ufo"), abs=0.01)


def test_without_a_split_there_is_one_mean(pairs):
    found = evaluate(OpenVocabIoUMetric(), pairs)
    assert "mIoU" in found and not {"mIoU_seen", "mIoU_unseen"} & set(found)


def test_a_mean_over_classes_that_never_appear_is_no_number(pairs):
    found = evaluate(OpenVocabIoUMetric(), pairs, held_out=("ufo",))
    assert math.isnan(found["mIoU_unseen"])
    assert found["mIoU_seen"] == pytest.approx(mean(by_hand(pairs).values()), abs=0.01)


@pytest.mark.parametrize("wrong", [5, 254, -1])
def test_a_label_outside_the_classes_is_named(pairs, wrong):
    pairs[1][1][2, 3] = wrong
    with pytest.raises(ValueError, match=rf"label {wrong} in maps/1\.png is outside the vocabulary of 5 names"):
        evaluate(OpenVocabIoUMetric(), pairs)


def test_images_without_labels_can_be_written(pairs, tmp_path):
    metric = OpenVocabIoUMetric(format_only=True, output_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=CLASSES, held_out=("sky",))
    predicted = pairs[0][0]
    metric.process({}, [dict(pred_sem_seg=dict(data=predicted[None]), img_path="in/a.jpg")])
    assert not metric.evaluate(1)
    assert torch.from_numpy(np.array(Image.open(tmp_path / "a.png"))).equal(predicted.byte())


def test_frequency_weighted_iou_and_accuracies(pairs):
    pairs[0][0][1, :3] = 4  # called a ufo, though there is none: IoU 0, in no sum of frequencies
    iou = by_hand(pairs)
    pixels, right = dict.fromkeys(CLASSES, 0), dict.fromkeys(CLASSES, 0)
    for predicted, label in pairs:
        for p, t in zip(predicted.flatten().tolist(), label.flatten().tolist(), strict=True):
            if t != 255:
                pixels[CLASSES[t]] += 1
                right[CLASSES[t]] += p == t
    total = sum(pixels.values())
    found = evaluate(OpenVocabIoUMetric(), pairs)
    assert iou["ufo"] == 0 and found["mIoU"] == pytest.approx(mean(iou.values()), abs=0.01)
    assert found["fwIoU"] == pytest.approx(sum(iou[name] * pixels[name] / total for name in iou), abs=0.01)
    assert found["aAcc"] == pytest.approx(100 * sum(right.values()) / total, abs=0.01)
    accuracies = [100 * right[name] / pixels[name] for name in CLASSES if pixels[name]]
    assert found["mAcc"] == pytest.approx(mean(accuracies), abs=0.01)


def test_results_of_every_class(pairs):
    metric = OpenVocabIoUMetric(seen_classes=("Cat", "sea-other"))
    evaluate(metric, pairs)
    iou = by_hand(pairs)
    assert [result["name"] for result in metric.class_results] == list(CLASSES)
    assert [result["seen"] for result in metric.class_results] == [True, False, True, False, False]
    for result in metric.class_results[:4]:
        labelled = sum(int((label == CLASSES.index(result["name"])).sum()) for _, label in pairs)
        assert result["IoU"] == pytest.approx(iou[result["name"]], abs=0.01)
        assert result["pixels"] == labelled > 0
    assert metric.class_results[4] == dict(name="ufo", seen=False, IoU=None, Acc=None, pixels=0)


def test_areas_are_counted_exactly_however_many_images():
    """Sums of single precision stop at 2^24 pixels."""
    metric = OpenVocabIoUMetric()
    metric.dataset_meta = dict(classes=("cat", "dog"))
    large = torch.tensor([2.0**24, 0.0])
    one = torch.tensor([1.0, 0.0])
    wrong = torch.tensor([0.0, 0.0])
    results = [(large, large, large, large), *[(wrong, one, wrong, one)] * 5000]
    assert metric.compute_metrics(results)["fwIoU"] == pytest.approx(100 * 2**24 / (2**24 + 5000), abs=0.006)
    assert metric.class_results[0]["pixels"] == 2**24 + 5000


def test_on_a_gpu_nothing_waits_for_the_counts_of_an_image():
    with FakeTensorMode(), Kernels() as kernels:
        found = areas(*(torch.empty(1, 8, 8, dtype=torch.long, device="cuda") for _ in range(2)), 2, 255)
        assert {(part.device.type, part.shape) for part in found} == {("cuda", (2,))}
    assert not kernels.waits and kernels.calls["scatter_add_"] == 3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_pixels_of_no_class_count_for_none(dtype):
    predicted = torch.tensor([[0, 0, 1, 255, 2]], dtype=dtype)
    labels = torch.tensor([[0, 1, 255, 0, 2]], dtype=dtype)
    assert [part.tolist() for part in areas(predicted, labels, 2, 255)] == [[1, 0], [3, 1], [2, 0], [2, 1]]
    assert [part.tolist() for part in areas(predicted, labels, 1, 255)] == [[1], [3], [2], [2]]


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("sky", True),
        ("Dining table", True),
        ("diningtable", True),
        ("aeroplane", True),
        ("other", False),
        ("armchair", False),
        ("door", True),
        ("wardrobe, closet", False),
        ("shelf, rack", True),
        ("stair", True),
        ("ski", True),
        ("window blinds", True),
        ("remote control, remote", True),
    ],
)
def test_names_of_seen_classes(name, seen):
    training = ("sky-other", "dining table", "airplane", "chair", "door-stuff", "shelf", "stairs")
    training += ("skis", "window-blind", "remote")
    assert seen_in_training([name], training).tolist() == [seen]


def test_a_synonym_that_is_another_class_does_not_count():
    names = (
        "andiron, firedog, dog",
        "dog, domestic dog",
        "screen, monitor",
        "screen, canvas",
        "fireplug, fire hydrant",
    )
    seen = seen_in_training(names, ("dog", "fire hydrant", "screen"))
    assert seen.tolist() == [False, True, True, True, True]


def test_every_training_class_is_seen():
    from hclip_mmseg.vocabularies import load_vocabulary

    names = load_vocabulary("coco_stuff_171").names
    assert seen_in_training(names, names).all()
    assert sum(seen_in_training(load_vocabulary("pascal_voc_20").names, names)) == 20


def test_predictions_of_the_words_asked_for_count_as_the_classes_they_fold_into(pairs):
    asked, folds = ("sky", "cat", "sea", "wall", "dog"), (3, 0, 2, 3, 1)
    meant = [(torch.tensor(folds)[predicted], label) for predicted, label in pairs]
    iou = by_hand(meant)
    found = evaluate(OpenVocabIoUMetric(), pairs, vocabulary=asked, folds=folds)
    assert found["mIoU"] == pytest.approx(mean(iou.values()), abs=0.01)
    assert found["mIoU"] != pytest.approx(mean(by_hand(pairs).values()), abs=0.01)

    pairs[0][0][0, 5] = 255  # no word at all: a miss, of whatever class
    meant[0][0][0, 5] = 255
    found = evaluate(OpenVocabIoUMetric(), pairs, vocabulary=asked, folds=folds)
    assert found["mIoU"] == pytest.approx(mean(by_hand(meant).values()), abs=0.01)


def test_predictions_of_the_classes_themselves_are_not_folded(pairs):
    metric = OpenVocabIoUMetric()
    metric.dataset_meta = dict(classes=CLASSES, vocabulary=("sky", "wall", "cat"), folds=(3, 3, 0))
    for predicted, label in pairs:
        sample = dict(pred_sem_seg=dict(data=predicted[None]), gt_sem_seg=dict(data=label[None]), vocabulary=CLASSES)
        metric.process({}, [sample])
    assert metric.evaluate(2)["mIoU"] == pytest.approx(mean(by_hand(pairs).values()), abs=0.01)


def test_a_class_is_seen_by_any_name_that_folds_into_it(pairs):
    metric = OpenVocabIoUMetric(seen_classes=("wall", "cat"))
    evaluate(metric, pairs, vocabulary=("sky", "cat", "sea", "wall", "dog"), folds=(3, 0, 2, 3, 1))
    assert [result["seen"] for result in metric.class_results] == [True, False, False, True, False]
    metric = OpenVocabIoUMetric(seen_classes=("ship",))
    evaluate(metric, pairs, vocabulary=("cat", "dog", "sea, ship", "sky", "ufo"))
    assert [result["seen"] for result in metric.class_results] == [False, False, True, False, False]


def measured(labels, classes=("sand", "grass", "crack")):
    """The metrics of one image whose prediction is class 0."""
    metric = OpenVocabIoUMetric()
    metric.dataset_meta = dict(classes=classes)
    sample = dict(pred_sem_seg=dict(data=torch.zeros(1, 2, 2, dtype=torch.long)), img_path="a.jpg")
    if labels is not None:
        sample.update(gt_sem_seg=dict(data=torch.tensor([labels])), seg_map_path="a.png")
    metric.process({}, [sample])
    return metric.compute_metrics(metric.results)


@pytest.mark.parametrize(
    ("labels", "said", "cause"),
    [
        ([[0, 255], [0, 255]], "2 of 3 classes have no pixel in any label map: grass, crack", True),
        ([[0, 1], [0, 1]], "1 of 3 classes have no pixel in any label map: crack", False),
        ([[0, 1], [2, 1]], None, False),
    ],
)
def test_classes_without_a_pixel_are_said(labels, said, cause, monkeypatch):
    lines = []
    monkeypatch.setattr("hclip_mmseg.evaluation.open_vocab_iou.print_log", lambda text, *others: lines.append(text))
    measured(labels)
    found = [line for line in lines if "no pixel" in line]
    assert (len(found) == 1 and found[0].startswith(said)) if said else not found
    assert any("0 and 255" in line for line in found) == cause


def test_without_label_maps_there_is_nothing_to_measure(monkeypatch):
    lines = []
    monkeypatch.setattr("hclip_mmseg.evaluation.open_vocab_iou.print_log", lambda text, *others: lines.append(text))
    assert measured(None) == {} and "nothing to measure" in lines[-1]


def test_a_label_map_of_another_size_is_named():
    with pytest.raises(ValueError, match="a.png is 3 x 1 pixels, the result of its image a.jpg 2 x 2"):
        measured([[0, 0, 0]])
