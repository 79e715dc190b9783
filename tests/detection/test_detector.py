"""The detector: its maps, its losses, what they train, and that folding changes nothing."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from tiny_detectors import random_images, samples, tiny_detector
from tiny_models import randomise

from hclip_mmseg.benchmarks.command import check_takes_names
from hclip_mmseg.conversion.folding import folded_state_dict
from hclip_mmseg.detection import PatchPyramid

BOXES, LABELS = [[4.0, 6, 40, 44], [30, 10, 60, 30]], [0, 2]


@pytest.fixture
def detector():
    return tiny_detector()


def test_boxes_are_not_compared_with_label_maps(detector):
    with pytest.raises(ValueError, match="OpenVocabFasterRCNN gives boxes"):
        check_takes_names(detector)


def total(losses) -> torch.Tensor:
    parts = [part for name, part in losses.items() if "loss" in name]
    return sum(part if isinstance(part, torch.Tensor) else sum(part) for part in parts)


def found(detector, images: torch.Tensor):
    return [sample.pred_instances for sample in detector.predict(images, samples(images))]


@pytest.mark.parametrize("height, width", [(64, 64), (32, 112), (128, 48), (40, 72)])
def test_strides_are_the_patchs_quarter_half_itself_and_twice_whatever_the_shape(detector, height, width):
    features = detector.extract_feat(random_images(height, width))
    for level, stride in zip(features, (2, 4, 8, 16), strict=False):
        assert level.shape == (2, 16, -(-height // stride), -(-width // stride))
    assert len(features) == 5
    assert features.dense.shape == (2, 32, height // 8, width // 8)
    torch.testing.assert_close(features.text.norm(dim=-1), torch.ones(3))
    for result in found(detector, random_images(height, width)):
        x1, y1, x2, y2 = result.bboxes.T
        assert (x1 >= 0).all() and (y1 >= 0).all() and (x2 <= width).all() and (y2 <= height).all()


def test_every_level_sees_its_own_place():
    pyramid = PatchPyramid(8, dict(type="GN", num_groups=2))
    blank, marked = torch.zeros(1, 8, 4, 6), torch.zeros(1, 8, 4, 6)
    marked[..., 1, 4] = 1.0
    changes = [(a - b).abs().sum(dim=1)[0] for a, b in zip(pyramid([blank] * 4), pyramid([marked] * 4), strict=True)]
    places = [{tuple(place) for place in change.nonzero().tolist()} for change in changes]
    assert places[1:] == [{(2, 8), (2, 9), (3, 8), (3, 9)}, {(1, 4)}, {(0, 2)}]
    finest = changes[0]  # the norm between its convolutions carries a change everywhere, but not as strongly
    outside = finest.clone()
    outside[4:8, 16:20] = 0
    assert finest.shape == (16, 24) and outside.max() < finest[4:8, 16:20].max()


def test_another_number_of_maps_is_refused():
    with pytest.raises(ValueError, match="four blocks, and got 3"):
        PatchPyramid(8, dict(type="GN", num_groups=2))([torch.zeros(1, 8, 4, 4)] * 3)


def test_gradients_reach_both_towers_and_all_that_is_trained():
    detector, images = tiny_detector(train_positions=True), random_images()
    detector.train()
    total(detector.loss(images, samples(images, BOXES, LABELS))).backward()
    adapter = detector.backbone.adapter
    text_slices = adapter.tensor.grad[..., : 32 // 16], adapter.tensor.grad[..., 32 // 16 :]
    assert all(part.abs().sum() > 0 for part in text_slices)
    lacking = [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert not lacking
    assert all(p.grad.abs().sum() > 0 for p in adapter.relation.parameters())
    for tower in (detector.backbone.image_tower, detector.backbone.text_tower):
        assert tower.positional_embedding.grad.abs().sum() > 0
        frozen = {name for name, p in tower.named_parameters() if p.grad is None}
        assert {name for name, _ in tower.named_parameters()} - frozen == {"positional_embedding"}


def test_frozen_clip_is_not_trained_and_its_names_are_encoded_once(monkeypatch):
    detector = tiny_detector(adapter=None, train_positions=False)
    images = random_images()
    calls = []
    encode = detector.backbone.encode_text

    def counted(tokens: torch.Tensor, shared: int) -> torch.Tensor:
        calls.append(1)
        return encode(tokens, shared)

    monkeypatch.setattr(detector.backbone, "encode_text", counted)
    detector.train()
    for _ in range(2):
        total(detector.loss(images, samples(images, BOXES, LABELS))).backward()
    assert all(p.grad is None for p in detector.backbone.parameters())
    assert detector.neck[0].scales[0][0].weight.grad.abs().sum() > 0
    assert len(calls) == 1


def test_folded_and_unfolded_detections_agree(detector):
    images = random_images(64, 96)
    unfolded = found(detector, images)
    with torch.no_grad():
        folded = found(detector, images)
    for one, other in zip(folded, unfolded, strict=True):
        assert len(one.scores) > 0
        assert torch.equal(one.labels, other.labels)
        torch.testing.assert_close(one.scores, other.scores, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(one.bboxes, other.bboxes, rtol=1e-3, atol=1e-2)


def test_folded_for_good_a_detector_needs_no_adapters(detector):
    plain, images = tiny_detector(adapter=None), random_images(64, 96)
    plain.load_state_dict(folded_state_dict(detector))
    with torch.no_grad():
        for one, other in zip(found(plain, images), found(detector, images), strict=True):
            assert len(one.scores) > 0 and torch.equal(one.scores, other.scores)


def test_folded_detections_follow_the_adapters(detector):
    images = random_images()
    with torch.no_grad():
        before = found(detector, images)[0].scores
        randomise(detector.backbone.adapter, 0.3)
        after = found(detector, images)[0].scores
    assert before.shape != after.shape or not torch.allclose(before, after)


def test_the_words_can_be_replaced(detector):
    images = random_images()
    words = ("a bus", "cat", "snow", "tie", "umbrella")
    detector.set_vocabulary(words)
    with torch.no_grad():
        results = detector.predict(images, samples(images))
    assert results[0].metainfo["vocabulary"] == words
    assert {int(label) for result in results for label in result.pred_instances.labels} <= set(range(5))
    assert detector.roi_head.bbox_head.num_classes == 5
    with pytest.raises(ValueError, match="'tie' is given 2 times"):
        detector.set_vocabulary(["tie", "tie"])
    assert detector.vocabulary == words


def test_without_words_the_error_says_what_to_do():
    detector = tiny_detector()
    detector.text_encoder._prompts = None
    with pytest.raises(ValueError, match="set_vocabulary"):
        detector.extract_feat(random_images())


def test_labels_of_other_names_are_refused(detector):
    images = random_images()
    with pytest.raises(ValueError, match="label 3 in .* is outside the vocabulary of 3 names"):
        detector.loss(images, samples(images, BOXES, [0, 3]))


def test_a_image_without_boxes_trains_too(detector):
    images = random_images()
    detector.train()
    loss = total(detector.loss(images, samples(images)))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None)


def test_bf16_gives_nearly_the_same_losses(detector):
    images = random_images()
    exact = detector.loss(images, samples(images, BOXES, LABELS))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = detector.loss(images, samples(images, BOXES, LABELS))
    total(mixed).backward()
    assert (mixed["loss_rpn_cls"][0] - exact["loss_rpn_cls"][0]).abs() < 0.05
    assert all(p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None)
