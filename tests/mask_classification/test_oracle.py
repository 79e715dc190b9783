"""The ground truth in the place of the classifier or of the proposals."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from miniature_panoptic import write_panoptic
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from tiny_maft_plus import tiny_maft_plus
from tiny_mask_models import CONFIGS, NAMES, tiny_fisa

from hclip_mmseg.mask_classification import OpenVocabPanopticDataset, OpenVocabPanopticMetric
from hclip_mmseg.mask_classification.oracle import certain_logits, masks_of_labels, matched_scores


def iou(a: torch.Tensor, b: torch.Tensor) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0


def test_each_mask_s_class_goes_to_the_proposal_of_the_best_matching():
    """Against all ways to give 3 masks of 2 classes to 5 proposals; the fifth overlaps with nothing."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.randn(5, 12, 12, generator=generator)
    masks[4] = -1
    truth = InstanceData(labels=torch.tensor([2, 0, 2]), masks=torch.rand(3, 12, 12, generator=generator) > 0.6)
    ious = [[iou(mask > 0, own) for own in truth.masks] for mask in masks]
    best = max(permutations(range(5), 3), key=lambda chosen: sum(ious[q][n] for n, q in enumerate(chosen)))
    expected = torch.zeros(5, 4)
    expected[:, 3] = 1
    for number, query in enumerate(best):
        expected[query] = torch.eye(4)[truth.labels[number]]
    assert torch.equal(matched_scores(masks, truth, 3), expected)


def test_what_overlaps_with_nothing_is_nothing():
    left, right = torch.full((1, 4, 4), -1.0), torch.zeros(1, 4, 4, dtype=torch.bool)
    left[..., :2], right[..., 2:] = 1, True
    for truth in (right, right[:0]):
        labels = torch.zeros(len(truth), dtype=torch.long)
        assert matched_scores(left, InstanceData(labels=labels, masks=truth), 2).tolist() == [[0, 0, 1]]


def panoptic_sample(height: int = 100, width: int = 150) -> tuple[DetDataSample, torch.Tensor]:
    """Two cats before grass and sky, a corner of no segment, and the label map; resized to 48 x 80 for the model."""
    things = np.zeros((2, height, width), np.uint8)
    things[0, 20:60, 10:60] = things[1, 30:90, 80:140] = 1
    labels = torch.full((height, width), 3)
    labels[height // 2 :], labels[:10, :10] = 2, 255
    labels[torch.from_numpy(things).bool().any(0)] = 0
    shapes = dict(img_shape=(48, 80), ori_shape=(height, width), batch_input_shape=(64, 96), img_path="a.jpg")
    sample = DetDataSample(metainfo=shapes)
    sample.gt_instances = InstanceData(labels=torch.zeros(2).long(), masks=BitmapMasks(things, height, width))
    sample.gt_sem_seg = PixelData(sem_seg=labels[None])
    return sample, labels


def segments(ids: torch.Tensor) -> set[tuple[int, ...]]:
    """The pixels of each segment."""
    return {tuple((ids == one).flatten().nonzero()[:, 0].tolist()) for one in ids.unique() if one % 1000 < len(NAMES)}


def check_perfect(found: DetDataSample, labels: torch.Tensor) -> None:
    named = labels < len(NAMES)
    assert torch.equal(found.pred_sem_seg.sem_seg[0][named], labels[named])
    ids = found.pred_panoptic_seg.sem_seg[0]
    assert torch.equal(ids[named] % 1000, labels[named].to(ids)) and bool((ids[~named] == len(NAMES)).all())
    assert len(segments(ids)) == 4, "two cats, grass, sky"


@torch.no_grad()
def test_a_classifier_without_errors_makes_perfect_proposals_a_perfect_result(monkeypatch):
    model = tiny_fisa(noise=0)
    model.results.update(oracle="classifier")
    sample, labels = panoptic_sample()
    masks = certain_logits(model.truth(sample).masks)
    proposals = torch.cat([-torch.ones_like(masks[:2]), masks[[2, 0, 3, 1]]])
    monkeypatch.setattr(model, "scored_masks", lambda *_: [(torch.rand(6, 5).softmax(1), proposals)])
    check_perfect(model.predict(torch.zeros(1, 3, 64, 96), [sample])[0], labels)


@torch.no_grad()
def test_a_generator_without_errors_gives_clip_the_masks_of_the_truth(monkeypatch):
    model = tiny_fisa(noise=0)
    model.results.update(oracle="generator")
    sample, labels = panoptic_sample()
    seen = []

    def classify(images, masks):
        seen.append((images.shape, masks.shape))
        inside = masks[0] > 0  # each mask's class, read where it lies
        small = torch.nn.functional.interpolate(labels[None, None].float(), size=masks.shape[-2:], mode="nearest")[0, 0]
        classes = torch.tensor([int(small[one].mode().values) for one in inside])
        return 50 * torch.eye(len(NAMES) + 1)[classes][None]

    monkeypatch.setattr(model, "classify", classify)
    monkeypatch.setattr(model, "propose", lambda *_: pytest.fail("the generator is not asked"))
    check_perfect(model.predict(torch.zeros(1, 3, 64, 96), [sample])[0], labels)
    assert seen == [((1, 3, 48, 80), (1, 4, 48, 80))]


@torch.no_grad()
def test_a_panoptic_benchmark_holds_the_truth_and_it_scores_100(tmp_path, monkeypatch):
    """By the benchmarks' own pipeline, at a smaller size: segments, crowds left out, and stuff."""
    model = tiny_fisa(noise=0)
    model.results.update(oracle="generator")
    root = write_panoptic(tmp_path / "data")
    pipeline = Config.fromfile(CONFIGS / "_base_/datasets/whole_panoptic.py").test_dataloader.dataset.pipeline
    pipeline[1].scale = (160, 96)
    data = OpenVocabPanopticDataset(
        data_root=str(root), ann_file="panoptic_val.json", data_prefix=dict(img="val/", seg="panoptic_val/"),
        pipeline=pipeline, test_mode=True,
    )  # fmt: skip
    model.set_vocabulary(data.metainfo["vocabulary"], things=data.metainfo["thing_classes"])
    metric = OpenVocabPanopticMetric()
    metric.dataset_meta = data.metainfo
    for entry in (data[index] for index in range(len(data))):
        labels = model.truth(entry["data_samples"]).labels
        monkeypatch.setattr(model, "classify", lambda *_, labels=labels: 50 * torch.eye(5)[labels][None])
        batch = dict(inputs=[entry["inputs"]], data_samples=[entry["data_samples"]])
        metric.process({}, [sample.to_dict() for sample in model.test_step(batch)])
    found = metric.evaluate(len(data))
    assert {round(value, 4) for key, value in found.items() if key.split("/")[-1] in ("PQ", "SQ", "RQ")} == {100.0}


@pytest.mark.parametrize("oracle", ["classifier", "generator"])
@torch.no_grad()
def test_a_label_map_alone_is_a_mask_a_class(oracle):
    """Semantic benchmarks; and an image without any labelled pixel."""
    model = tiny_fisa()
    model.results.update(oracle=oracle)
    labels = torch.full((40, 60), 255)
    labels[:20, :30], labels[30:] = 3, 1
    for own, expected in ((labels, [1, 3]), (torch.full((40, 60), 255), [])):
        sample = DetDataSample(metainfo=dict(img_shape=(48, 80), ori_shape=(40, 60), batch_input_shape=(64, 96)))
        sample.gt_sem_seg = PixelData(data=own[None])
        assert model.truth(sample).labels.tolist() == expected
        found = model.predict(torch.zeros(1, 3, 64, 96), [sample])[0]
        assert found.pred_sem_seg.sem_seg.shape == (1, 40, 60)
        if oracle == "classifier":
            assert set(found.pred_panoptic_seg.sem_seg.unique().remainder(1000).tolist()) <= {*expected, len(NAMES)}


def test_labels_that_are_no_class_are_of_no_mask():
    found = masks_of_labels(torch.tensor([[0, 2, 255], [2, 5, 0]]), 5)
    assert found.labels.tolist() == [0, 2]
    assert found.masks.int().tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0]]]


def test_an_oracle_that_cannot_be_is_one_line():
    with pytest.raises(ValueError, match="oracle is one of classifier or None, not 'generator': MAFTPlus scores no"):
        tiny_maft_plus(test_cfg=dict(oracle="generator"))
    with pytest.raises(ValueError, match="oracle is one of classifier or None, not 'truth': there is none such"):
        tiny_maft_plus(test_cfg=dict(oracle="truth"))
    model = tiny_fisa()
    with pytest.raises(ValueError, match=r"test_cfg.oracle needs the ground truth of a.jpg, which the data does not"):
        model.truth(DetDataSample(metainfo=dict(img_path="a.jpg")))
