"""IoU over seen and unseen classes, against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from hclip_mmseg.evaluation import OpenVocabIoUMetric

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
    with pytest.raises(ValueError, match=rf"label {wrong} in maps/1\.png is outside the dataset's 5 classes"):
        evaluate(OpenVocabIoUMetric(), pairs)


def test_pictures_without_labels_can_be_written(pairs, tmp_path):
    metric = OpenVocabIoUMetric(format_only=True, output_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=CLASSES, held_out=("sky",))
    predicted = pairs[0][0]
    metric.process({}, [dict(pred_sem_seg=dict(data=predicted[None]), img_path="in/a.jpg")])
    assert not metric.evaluate(1)
    assert torch.from_numpy(np.array(Image.open(tmp_path / "a.png"))).equal(predicted.byte())
