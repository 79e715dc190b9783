"""AP50 against its definition written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from mmengine.structures import InstanceData

from hclip_mmseg.detection import OpenVocabAP50
from hclip_mmseg.detection.ap50 import ap50_by_class


def overlap(a, b, crowd=False) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both, area = max(width, 0) * max(height, 0), (a[2] - a[0]) * (a[3] - a[1])
    return both / (area if crowd else area + (b[2] - b[0]) * (b[3] - b[1]) - both)


def literal_ap(truth, found, label) -> float:
    """Greedy matching by score, then the mean over 101 recalls of the best precision at or behind them."""
    marks, positives = [], 0
    for real, seen in zip(truth, found, strict=True):
        rows = zip(real["bboxes"], real["labels"], real["crowd"], strict=True)
        boxes = [(box, crowd) for box, own, crowd in rows if own == label]
        positives += sum(not crowd for _, crowd in boxes)
        taken = set()
        own = [i for i, guess in enumerate(seen["labels"]) if guess == label]
        for i in sorted(own, key=lambda i: -seen["scores"][i])[:100]:
            best, match = 0.5, None
            for j, (box, crowd) in enumerate(boxes):
                iou = overlap(seen["bboxes"][i], box)
                if not crowd and j not in taken and iou >= best:
                    best, match = iou, j
            if match is None and any(crowd and overlap(seen["bboxes"][i], box, True) >= 0.5 for box, crowd in boxes):
                continue
            taken.add(match)
            marks.append((seen["scores"][i], match is not None))
    if not positives:
        return float("nan")
    marks.sort(key=lambda mark: -mark[0])
    points, right = [], 0
    for count, (_, hit) in enumerate(marks, start=1):
        right += hit
        points.append((right / positives, right / count))
    recalls = np.linspace(0, 1, 101)
    return 100 * np.mean([max((p for r, p in points if r >= recall - 1e-12), default=0.0) for recall in recalls])


@pytest.fixture(scope="module")
def results():
    random = np.random.default_rng(0)

    def boxes(count):
        corner = random.uniform(0, 60, (count, 2))
        return np.concatenate([corner, corner + random.uniform(8, 40, (count, 2))], axis=1)

    truth, found = [], []
    for _ in range(12):
        count = int(random.integers(0, 6))
        real = dict(bboxes=boxes(count), labels=random.integers(0, 3, count), crowd=random.integers(0, 6, count) == 0)
        near = real["bboxes"].repeat(3, axis=0) + random.normal(0, 3, (3 * count, 4))
        seen = np.concatenate([near, boxes(4)])
        guess = np.concatenate([real["labels"].repeat(3), random.integers(0, 5, 4)])
        truth.append(real)
        found.append(dict(bboxes=seen, labels=guess, scores=random.uniform(size=len(seen))))
    return truth, found


def test_ap_is_its_definition(results):
    truth, found = results
    ap = ap50_by_class(truth, found, 5)
    expected = [literal_ap(truth, found, label) for label in range(5)]
    np.testing.assert_allclose(ap, expected, atol=1e-6)
    assert np.isnan(ap[3:]).all() and (ap[:3] > 5).all() and (ap[:3] < 95).all()


@pytest.mark.parametrize("empty", ["found", "truth"])
def test_nothing_found_or_nothing_to_find(results, empty):
    truth, found = results
    none = dict(bboxes=np.zeros((0, 4)), labels=np.zeros(0, int))
    if empty == "found":
        ap = ap50_by_class(truth, [dict(none, scores=np.zeros(0))] * len(truth), 5)
        assert ap[:3].tolist() == [0, 0, 0] and np.isnan(ap[3:]).all()
    else:
        assert np.isnan(ap50_by_class([dict(none, crowd=np.zeros(0))] * len(found), found, 5)).all()


def sample(truth, found, **meta):
    instances = [
        dict(bbox=box.tolist(), bbox_label=int(label), ignore_flag=int(crowd))
        for box, label, crowd in zip(truth["bboxes"], truth["labels"], truth["crowd"], strict=True)
    ]
    prediction = InstanceData(**{key: torch.from_numpy(found[key]) for key in ("bboxes", "labels", "scores")})
    return dict(instances=instances, pred_instances=prediction, **meta)


def evaluated(results, held_out=(), **meta):
    metric = OpenVocabAP50()
    metric.dataset_meta = dict(classes=("a", "b", "c", "d", "e"), held_out=held_out)
    for pair in zip(*results, strict=True):
        metric.process(None, [sample(*pair, **meta)])
    return metric.evaluate(len(results[0]))


def test_base_and_novel_names_are_averaged_apart(results):
    ap = ap50_by_class(*results, 5)
    metrics = evaluated(results, held_out=("b", "e"))
    assert metrics["AP50_novel"] == pytest.approx(ap[1], abs=0.01)  # no box of e is there
    assert metrics["AP50_base"] == pytest.approx(ap[[0, 2]].mean(), abs=0.01)
    assert metrics["AP50_all"] == pytest.approx(ap[:3].mean(), abs=0.01)
    assert evaluated(results) == {"AP50_all": metrics["AP50_all"]}


def test_the_models_base_names_decide_and_the_split_says_so(results, monkeypatch):
    printed, ap = [], ap50_by_class(*results, 5)
    monkeypatch.setattr("hclip_mmseg.detection.ap50.print_log", lambda text, logger: printed.append(text))
    metrics = evaluated(results, held_out=("b",), base_names=("b", "c", "dog"))
    assert printed[-1].endswith("3 novel and 2 base names by model.roi_head.base_names")
    assert metrics["AP50_novel"] == pytest.approx(ap[0], abs=0.01)  # of a, d and e only a has boxes
    assert metrics["AP50_base"] == pytest.approx(ap[[1, 2]].mean(), abs=0.01)
    evaluated(results, held_out=("b",))
    assert printed[-1].endswith("1 novel and 4 base names by the data set's held_out")


def test_names_that_are_asked_for_beside_the_classes_are_not_averaged(results):
    truth, found = results
    more = dict(labels=np.full(3, 7), scores=np.ones(3))
    beside = [
        {key: np.concatenate([image[key], more.get(key, image["bboxes"][:3])]) for key in image} for image in found
    ]
    assert evaluated((truth, beside), held_out=("b",)) == evaluated(results, held_out=("b",))


def test_the_papers_figures_stand_beside_in_the_same_row():
    metric = OpenVocabAP50(paper=dict(novel=25.1, base=42.9))
    row = metric.table(dict(AP50_novel=1.0, AP50_base=2.0, AP50_all=3.0)).splitlines()[-2]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["1.0", "2.0", "3.0", "25.1", "42.9"]
    with pytest.raises(ValueError, match="not of rare"):
        OpenVocabAP50(paper=dict(rare=1.0))


def test_samples_without_their_boxes_say_what_lacks(results):
    metric = OpenVocabAP50()
    broken = sample(results[0][0], results[1][0])
    del broken["instances"]
    with pytest.raises(ValueError, match="add 'instances' to the meta_keys"):
        metric.process(None, [broken])
