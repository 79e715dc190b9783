"""Regions: pooling by hand, scores by loops, the background's weight."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from mmengine.structures import InstanceData
from tiny_detectors import BASE, random_images, samples, tiny_detector

from hclip_mmseg.detection.features import PyramidFeatures
from hclip_mmseg.detection.score_fusion import clip_scores, fuse_scores


@pytest.fixture(scope="module")
def detector():
    return tiny_detector(names=(*BASE, "bus, coach", "cat's paw"))


def literal_region(dense: torch.Tensor, box: list[float], stride: int) -> torch.Tensor:
    """RoIAlign of a map [C, h, w] to 1 x 1: the mean of bilinear samples, ceil(side) of them along a side."""
    x1, y1, x2, y2 = (side / stride - 0.5 for side in box)
    across, down = math.ceil(x2 - x1), math.ceil(y2 - y1)
    total = torch.zeros(dense.shape[0])
    for row in range(down):
        for column in range(across):
            y, x = y1 + (row + 0.5) * (y2 - y1) / down, x1 + (column + 0.5) * (x2 - x1) / across
            y, x = min(max(y, 0), dense.shape[1] - 1), min(max(x, 0), dense.shape[2] - 1)
            for i in range(dense.shape[1]):
                for j in range(dense.shape[2]):
                    total += max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j)) * dense[:, i, j]
    return total / (across * down)


def test_a_region_is_the_mean_of_its_unit_tokens(detector):
    torch.manual_seed(0)
    dense = torch.randn(2, 32, 6, 8) * torch.rand(2, 1, 6, 8)  # tokens of any length
    boxes = torch.tensor([[8.0, 16, 40, 32], [3.0, 5, 61, 44], [20.0, 20, 23, 23], [0.0, 0, 64, 48]])
    images = torch.tensor([0.0, 1, 0, 1])
    pooled = detector.roi_head.pool_regions(dense, torch.cat([images[:, None], boxes], dim=1))
    unit = dense / dense.norm(dim=1, keepdim=True)
    for found, image, box in zip(pooled, images.long().tolist(), boxes.tolist(), strict=True):
        torch.testing.assert_close(found, literal_region(unit[image], box, 8), rtol=1e-4, atol=1e-5)
    # a box on whole patches, by hand: four patches across, two down
    torch.testing.assert_close(pooled[0], unit[0, :, 2:4, 1:5].mean(dim=(1, 2)), rtol=1e-4, atol=1e-5)


def test_clip_scores_are_a_softmax_of_cosines():
    torch.manual_seed(0)
    regions, text = torch.randn(5, 7) * 3, F.normalize(torch.randn(4, 7), dim=-1)
    found = clip_scores(regions, text, 75.0)
    for n in range(5):
        exponentials = []
        for t in range(4):
            cosine = sum(float(a) * float(b) for a, b in zip(regions[n], text[t], strict=True)) / float(
                regions[n].norm()
            )
            exponentials.append(math.exp(75 * cosine))
        for t in range(4):
            assert found[n, t].item() == pytest.approx(exponentials[t] / sum(exponentials), rel=1e-3, abs=1e-6)


def test_fused_scores_are_geometric_means_name_by_name():
    detector, clip, exponents = torch.rand(6, 3), torch.rand(6, 3), torch.tensor([0.1, 0.8, 0.1])
    found = fuse_scores(detector, clip, exponents)
    for n in range(6):
        for t, exponent in enumerate((0.1, 0.8, 0.1)):
            expected = detector[n, t].item() ** (1 - exponent) * clip[n, t].item() ** exponent
            assert found[n, t].item() == pytest.approx(expected, rel=1e-5)
    assert fuse_scores(torch.zeros(1, 3), torch.ones(1, 3), exponents).tolist() == [[0, 0, 0]]


def test_base_names_lean_on_the_detector_and_all_others_on_clip(detector):
    assert detector.roi_head.exponents().tolist() == pytest.approx([0.1, 0.1, 0.1, 0.8, 0.8])


def test_scores_of_regions_follow_their_definition(detector):
    torch.manual_seed(0)
    head = detector.roi_head
    with torch.no_grad():
        features = detector.extract_feat(random_images(48, 64))
    rois = torch.tensor([[0.0, 4, 8, 30, 40], [1.0, 10, 2, 60, 44]])
    logits = torch.randn(2, 6)
    found = head.region_scores(features, rois, logits)
    probability = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    unit = F.normalize(features.dense, dim=1)
    for n in range(2):
        region = literal_region(unit[n], rois[n, 1:].tolist(), 8)
        background = head.bbox_head.background[0] / head.bbox_head.background[0].norm()
        clip = (75 * (region / region.norm()) @ torch.stack([*features.text, background]).T).softmax(dim=0)
        for t in range(6):
            weight = 0.8 if t in (3, 4) else 0.1  # background is the last column, and leans on the detector
            expected = probability[n, t].item() ** (1 - weight) * clip[t].item() ** weight
            assert found[n, t].item() == pytest.approx(expected, rel=2e-3)


def test_a_region_that_clip_takes_for_background_loses_every_name(detector):
    """Without the column a background region would be given the name that is least unlike it."""
    head, background = detector.roi_head, detector.roi_head.bbox_head.background.detach()
    text = F.normalize(torch.randn(5, 32, generator=torch.Generator().manual_seed(2)), dim=-1)
    dense = background.view(1, 32, 1, 1).expand(1, 32, 6, 8)
    features, rois = PyramidFeatures((), dense, text), torch.tensor([[0.0, 4, 8, 30, 40]])
    with torch.no_grad():
        scores = head.region_scores(features, rois, torch.zeros(1, 6))[0]
    assert scores[3:5].max() < 1e-3 and scores[5] > (1 / 6) ** 0.9 * 0.9


def test_clips_word_comes_from_the_adapted_tower(detector):
    rois = torch.tensor([[0.0, 4, 8, 30, 40]])
    plain = tiny_detector(adapter=None)
    state = detector.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    with torch.no_grad():
        adapted, frozen = (
            model.roi_head.pool_regions(model.extract_feat(random_images()).dense, rois) for model in (detector, plain)
        )
    assert (adapted - frozen).abs().max() > 1e-3


def test_logits_are_cosines_times_the_temperature_and_background_is_last(detector):
    head = detector.roi_head.bbox_head
    text = F.normalize(torch.randn(5, 32), dim=-1)
    seen = {}
    handle = head.fc_cls.register_forward_hook(lambda module, inputs, output: seen.update(embeddings=output))
    logits, deltas = head(torch.randn(3, 16, 7, 7), text)
    handle.remove()
    assert logits.shape == (3, 6) and deltas.shape == (3, 4)
    for n in range(3):
        for t in range(6):
            other = text[t] if t < 5 else head.background[0]
            cosine = F.cosine_similarity(seen["embeddings"][n], other, dim=0)
            assert logits[n, t].item() == pytest.approx(50 * cosine.item(), abs=1e-3)


def test_background_weighs_less_in_the_loss(detector):
    head = detector.roi_head.bbox_head
    logits = torch.randn(4, 6)
    labels = torch.tensor([0, 5, 4, 5])  # 5 is background
    rois, boxes = torch.zeros(4, 5), torch.zeros(4, 4)
    losses = head.loss(logits, torch.zeros(4, 4), rois, labels, torch.ones(4), boxes, torch.ones(4, 4))
    each = [-logits[n].log_softmax(0)[label].item() for n, label in enumerate(labels.tolist())]
    expected = (each[0] + 0.6 * each[1] + each[2] + 0.6 * each[3]) / 4
    assert losses["loss_cls"].item() == pytest.approx(expected, rel=1e-5)


def test_detections_are_kept_as_configured(detector):
    """NMS at 0.4, scores above 0.01, at most 100 an image; boxes in the original image."""
    head, images = detector.roi_head, random_images(64, 64, batch=1)
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(200, 2, generator=generator) * 40
    proposals = torch.cat([corner, corner + 6 + 16 * torch.rand(200, 2, generator=generator)], dim=1)
    meta = samples(images)[0].metainfo | dict(scale_factor=(0.5, 0.25))
    with torch.no_grad():
        features = detector.extract_feat(images)
        result = head.predict_bbox(features, [meta], [InstanceData(bboxes=proposals)], head.test_cfg, rescale=True)[0]
    assert 0 < len(result.scores) <= 100 and (result.scores > 0.01).all()
    assert 64 < result.bboxes[:, 2].max() <= 128 and 128 < result.bboxes[:, 3].max() <= 256
    for label in result.labels.unique():
        boxes = result.bboxes[result.labels == label].tolist()
        assert all(overlap(boxes[i], boxes[j]) <= 0.4 + 1e-4 for i in range(len(boxes)) for j in range(i))


def overlap(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_a_image_without_proposals_has_no_detections(detector):
    head, images = detector.roi_head, random_images(64, 64, batch=1)
    with torch.no_grad():
        features = detector.extract_feat(images)
        nothing = [InstanceData(bboxes=torch.zeros(0, 4))]
        result = head.predict_bbox(features, [samples(images)[0].metainfo], nothing, head.test_cfg, rescale=True)[0]
    assert len(result.scores) == len(result.labels) == 0 and result.bboxes.shape == (0, 4)


def test_features_are_the_pyramids_tuple():
    maps = [torch.zeros(1), torch.ones(1)]
    features = PyramidFeatures(maps, torch.zeros(2), torch.zeros(3))
    assert isinstance(features, tuple) and features[1] is maps[1] and len(features[:1]) == 1
