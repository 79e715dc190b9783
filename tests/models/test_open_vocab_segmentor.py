"""The segmentor: views put together, vocabularies exchanged, results, names sampled in training."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from tiny_models import HEAD, PREPROCESSOR, tiny_segmentor

from hclip_mmseg.models.score_maps import best_class, resized
from hclip_mmseg.models.segmentors.scored_names import sample_names
from hclip_mmseg.models.segmentors.views import check_views, shrunk, views_of

NAMES = ("cat", "red striped star", "grass", "water", "traffic light")
MANY = tuple(f"thing {number}" for number in range(20))  # more than HEAD's class_length of 16
CANVAS, WINDOW, STRIDE = 96, 64, 42  # int(64 * (1 - 0.333))


def test_cfg(**changes):
    return dict(mode="slide_whole", canvas=CANVAS, window=WINDOW, clip_resolution=64) | changes


test_cfg.__test__ = False


def random_image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))


def bilinear(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def predict(model, image: torch.Tensor, size: tuple[int, int] | None = None):
    meta = dict(ori_shape=size or tuple(image.shape[-2:]))
    return model.predict(image[None], [SegDataSample(metainfo=meta)])[0]


def like_pillow(image: torch.Tensor, side: int) -> torch.Tensor:
    """The image with a shorter side of ``side``, as Pillow makes it of each channel; as it is where that is no less."""
    height, width = image.shape[-2:]
    scale = min(side / min(height, width), 1)
    size = round(width * scale), round(height * scale)
    channels = [Image.fromarray(channel.numpy()).resize(size, Image.Resampling.BILINEAR) for channel in image]
    return torch.stack([torch.from_numpy(np.array(channel)) for channel in channels])


@torch.no_grad()
def logits_of(model, pixels: torch.Tensor) -> torch.Tensor:
    """[T, h, w] of one view, all of the vocabulary, in the head's own way of training."""
    text = model.text_encoder(model.backbone.encode_text, model.backbone.text_parameters())
    *guidance, dense = model.backbone(bilinear(pixels, (64, 64))[None])
    return model.decode_head((dense, *guidance, text))[0]


def literal_scores(model, image: torch.Tensor, mode: str, canvas_size: tuple[int, int]) -> torch.Tensor:
    """MMSegmentation's sliding window, docs/cat_seg.md, pixel by pixel added up."""
    if mode == "whole" or canvas_size != tuple(image.shape[-2:]):
        image = like_pillow(image, WINDOW if mode == "whole" else min(canvas_size))
    whole = logits_of(model, image)
    if mode == "whole":
        return bilinear(whole.sigmoid(), (WINDOW, WINDOW))
    height, width = canvas_size
    canvas = bilinear(image, canvas_size)
    total, count = torch.zeros(len(model.vocabulary), height, width), torch.zeros(height, width)
    for row in range(max(height - WINDOW + STRIDE - 1, 0) // STRIDE + 1):
        for column in range(max(width - WINDOW + STRIDE - 1, 0) // STRIDE + 1):
            bottom, right = min(row * STRIDE + WINDOW, height), min(column * STRIDE + WINDOW, width)
            top, left = max(bottom - WINDOW, 0), max(right - WINDOW, 0)
            logits = logits_of(model, canvas[:, top:bottom, left:right])
            total[:, top:bottom, left:right] += bilinear(logits, (bottom - top, right - left)).sigmoid()
            count[top:bottom, left:right] += 1
    assert count.min() >= 1
    windows = total / count
    if mode == "slide":
        return windows
    view = logits_of(model, bilinear(image, (WINDOW, WINDOW)))
    return (windows + bilinear(bilinear(view, (WINDOW, WINDOW)).sigmoid(), canvas_size)) / 2


@pytest.mark.parametrize("names", [NAMES, MANY, ("cat",)], ids=["few", "more than class_length", "one"])
@pytest.mark.parametrize("mode", ["slide", "slide_whole", "whole"])
@pytest.mark.parametrize(
    "canvas, size", [(96, (48, 72)), (96, (260, 150)), (None, (160, 70)), (None, (50, 100))]
)
def test_views_are_put_together_as_in_the_definition(mode, names, canvas, size):
    model = tiny_segmentor(names=names, test_cfg=test_cfg(mode=mode, canvas=canvas))
    image = random_image(*size)
    result = predict(model, image)
    expected = literal_scores(model, image, mode, size if canvas is None else (canvas, canvas))
    expected = bilinear(expected, size)
    scores = result.seg_logits.data
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    assert scores.std() > 1e-3, "all scores alike, so nothing was compared"
    assert torch.equal(result.pred_sem_seg.data, scores.argmax(dim=0, keepdim=True))
    assert result.pred_sem_seg.shape == size
    assert result.vocabulary == names


@pytest.mark.parametrize("class_maps", [1, 7, 1000])
def test_views_may_run_in_batches_of_any_size(class_maps):
    image = random_image(60, 90)
    expected = predict(tiny_segmentor(names=NAMES), image)
    found = predict(tiny_segmentor(names=NAMES, test_cfg=test_cfg(class_maps=class_maps)), image)
    torch.testing.assert_close(found.seg_logits.data, expected.seg_logits.data, rtol=0, atol=1e-5)


@pytest.mark.parametrize("height, width, window, stride", [(96, 96, 64, 42), (100, 30, 64, 42), (130, 131, 32, 32)])
def test_windows_cover_the_canvas_and_stay_inside(height, width, window, stride):
    views = views_of(height, width, "slide", window, stride)
    covered = torch.zeros(height, width)
    for view in views:
        assert 0 <= view.top <= view.top + view.height <= height
        assert 0 <= view.left <= view.left + view.width <= width
        assert (view.height, view.width) == (min(window, height), min(window, width))
        covered[view.top : view.top + view.height, view.left : view.left + view.width] += 1
    assert covered.min() >= 1
    assert len(set(views)) == len(views)


def test_the_texture_of_a_large_image_is_averaged_and_not_skipped():
    noise = random_image(300, 400)
    for side, left in ((100, 0.4), (30, 0.15)):
        small = shrunk(noise, side)
        assert small.shape == (3, side, round(side * 4 / 3))
        torch.testing.assert_close(small, like_pillow(noise, side), rtol=0, atol=1e-4)
        assert small.std() < left * noise.std()
    assert shrunk(noise, 300) is noise


def test_best_class_is_that_of_the_resized_scores():
    scores = torch.rand(70, 6, 9, generator=torch.Generator().manual_seed(0))
    for size in ((31, 20), (200, 230), (4, 5), (6, 9), (1, 1)):  # larger, smaller, the same
        expected = resized(scores, size).max(dim=0)
        for classes in (70, 8, 1):  # at once
            label, best = best_class(scores, size, budget=4 * classes * size[0] * size[1])
            assert torch.equal(label, expected.indices)
            torch.testing.assert_close(best, expected.values)  # resizing rounds by the number of maps
    for budget in (1 << 20, 1):
        label, _ = best_class(torch.ones(3, 2, 2), (5, 7), budget)
        assert not label.any(), "of equal ones the first"


def test_a_new_vocabulary_changes_the_results():
    model = tiny_segmentor(names=NAMES)
    image = random_image(64, 64)
    first = predict(model, image)
    model.set_vocabulary(["dog", "cat"], templates="vild")
    second = predict(model, image)
    assert model.vocabulary == second.vocabulary == ("dog", "cat")
    assert first.seg_logits.data.shape == (5, 64, 64) and second.seg_logits.data.shape == (2, 64, 64)
    neck = dict(type="TextEncoderNeck", templates="vild")
    fresh = predict(tiny_segmentor(names=("dog", "cat"), text_encoder=neck), image)
    assert torch.equal(second.seg_logits.data, fresh.seg_logits.data)
    with pytest.raises(ValueError, match="'cat' is given 2 times"):
        model.set_vocabulary(["cat", "cat"])
    assert torch.equal(predict(model, image).seg_logits.data, second.seg_logits.data)
    model.set_vocabulary(NAMES, templates="scene")
    assert torch.equal(predict(model, image).seg_logits.data, first.seg_logits.data)


def test_without_a_vocabulary_prediction_says_what_to_do():
    with pytest.raises(ValueError, match="call model.set_vocabulary"):
        predict(tiny_segmentor(), random_image(64, 64))


@pytest.mark.parametrize("names", [NAMES, MANY])
def test_scores_too_large_to_keep_leave_the_labels(names):
    image = random_image(60, 90)
    kept = predict(tiny_segmentor(names=names, test_cfg=test_cfg(score_memory=4 * len(names) * 60 * 90)), image)
    lean = predict(tiny_segmentor(names=names, test_cfg=test_cfg(score_memory=4 * len(names) * 60 * 90 - 1)), image)
    assert "seg_logits" in kept and "seg_logits" not in lean
    assert torch.equal(kept.pred_sem_seg.data, lean.pred_sem_seg.data)


def test_pixels_below_the_threshold_are_of_no_class():
    image = random_image(64, 64)
    plain = predict(tiny_segmentor(names=NAMES), image)
    best = plain.seg_logits.data.max(dim=0).values
    threshold = float(best.median())
    found = predict(tiny_segmentor(names=NAMES, test_cfg=test_cfg(score_threshold=threshold)), image)
    expected = plain.pred_sem_seg.data[0].where(best >= threshold, 255)
    assert 0 < int((expected == 255).sum()) < expected.numel()
    assert torch.equal(found.pred_sem_seg.data[0], expected)


def test_a_batch_is_its_images_one_by_one():
    model = tiny_segmentor(names=NAMES)
    images = torch.stack([random_image(64, 64, seed) for seed in (1, 2)])
    samples = [SegDataSample(metainfo=dict(ori_shape=shape)) for shape in ((64, 64), (30, 50))]
    together = model.predict(images, samples)
    for image, sample in zip(images, together, strict=True):
        alone = predict(model, image, sample.ori_shape)
        assert sample.pred_sem_seg.shape == sample.ori_shape
        assert torch.equal(sample.pred_sem_seg.data, alone.pred_sem_seg.data)
        assert torch.equal(sample.seg_logits.data, alone.seg_logits.data)
    assert not torch.equal(together[0].seg_logits.data[:, :30, :50], together[1].seg_logits.data)


def test_padding_is_cut_off_again():
    """Through MMSegmentation's own preprocessor and test step."""
    padding = PREPROCESSOR | dict(test_cfg=dict(size=(96, 112)))
    model, single = (tiny_segmentor(names=NAMES, data_preprocessor=p) for p in (padding, PREPROCESSOR))
    raw = [(random_image(80, 70, seed) * 50 + 100).clamp(0, 255).to(torch.uint8) for seed in (1, 2)]

    def batch(*images):
        metas = [dict(ori_shape=tuple(i.shape[-2:]), img_shape=tuple(i.shape[-2:])) for i in images]
        return dict(inputs=list(images), data_samples=[SegDataSample(metainfo=meta) for meta in metas])

    with torch.no_grad():
        for image, found in zip(raw, model.test_step(batch(*raw)), strict=True):
            expected = single.test_step(batch(image))[0]
            assert found.pred_sem_seg.shape == tuple(image.shape[-2:])
            torch.testing.assert_close(found.seg_logits.data, expected.seg_logits.data, rtol=0, atol=1e-5)


@pytest.mark.parametrize("direction, axis", [("horizontal", 2), ("vertical", 1)])
def test_a_flipped_image_gives_unflipped_labels(direction, axis):
    model = tiny_segmentor(names=NAMES)
    image = random_image(64, 64)
    sample = SegDataSample(metainfo=dict(ori_shape=(64, 64), flip=True, flip_direction=direction))
    flipped = model.predict(image[None], [sample])[0]
    expected = predict(model, image).seg_logits.data.flip(axis)
    torch.testing.assert_close(flipped.seg_logits.data, expected, rtol=0, atol=1e-6)


def test_the_tensor_mode_gives_logits_of_the_image_size():
    model = tiny_segmentor(names=NAMES)
    image = random_image(64, 64)
    logits = model.encode_decode(image[None], [{}])
    torch.testing.assert_close(logits[0], bilinear(logits_of(model, image), (64, 64)), rtol=0, atol=1e-4)


def test_a_deep_copy_is_apart():
    model = tiny_segmentor(names=NAMES)
    image = random_image(64, 64)
    first = predict(model, image).seg_logits.data
    twin = copy.deepcopy(model)
    assert torch.equal(predict(twin, image).seg_logits.data, first)
    with torch.no_grad():
        twin.backbone.adapter.tensor.mul_(2)
    twin.set_vocabulary(NAMES[::-1])
    assert torch.equal(predict(model, image).seg_logits.data, first)
    assert not torch.equal(predict(twin, image).seg_logits.data, first.flip(0))


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(test_cfg=dict(moed="slide")), "unknown entries in the model's test_cfg: moed; it takes mode, canvas"),
        (
            dict(test_cfg=dict(mode="tiles")),
            "test_cfg.mode must be 'whole', 'slide' or 'slide_whole', not 'tiles'",
        ),
        (
            dict(train_cfg=dict(sampled_names=6, max_iters=9)),
            "unknown entries in the model's train_cfg: max_iters; it takes sampled_names",
        ),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny_segmentor(**settings)


# ---- training


def labelled(labels: torch.Tensor, **meta) -> list[SegDataSample]:
    samples = [SegDataSample(metainfo=meta) for _ in labels]
    for sample, own in zip(samples, labels, strict=True):
        sample.gt_sem_seg = PixelData(data=own.clone())
    return samples


def some_labels(values, batch: int = 2) -> torch.Tensor:
    choice = torch.randint(0, len(values), (batch, 1, 64, 64), generator=torch.Generator().manual_seed(0))
    return torch.tensor(values)[choice]


def test_sampled_names_hold_all_that_are_present():
    labels = some_labels([3, 17, 42, 255])
    names = sample_names(labels, 100, 20, 255)
    assert len(names) == len(names.unique()) == 20
    assert torch.equal(names, names.sort().values)
    assert {3, 17, 42} <= set(names.tolist()) and 0 <= names.min() and names.max() < 100
    assert torch.equal(sample_names(labels, 100, 20, 255), names), "the draw is not repeated"
    assert not torch.equal(sample_names(labels.where(labels != 3, 4), 100, 20, 255), names)
    assert sample_names(labels, 100, 2, 255).tolist() == [3, 17, 42]
    assert sample_names(labels, 5 + 95, 100, 255).tolist() == list(range(100))
    assert len(sample_names(torch.full((1, 4, 4), 255), 100, 7, 255)) == 7


def test_loss_over_sampled_names_is_that_of_a_model_of_these_names():
    sampling = tiny_segmentor(names=MANY, train_cfg=dict(sampled_names=6)).train()
    labels = some_labels([2, 9, 15, 255])
    images = torch.stack([random_image(64, 64, seed) for seed in (1, 2)])
    names = sample_names(labels, len(MANY), 6, 255).tolist()
    small = tiny_segmentor(names=tuple(MANY[name] for name in names)).train()
    relabelled = labels.clone()
    for new, old in enumerate(names):
        relabelled[labels == old] = new
    found = sampling.loss(images, labelled(labels))
    expected = small.loss(images, labelled(relabelled))
    assert set(found) == set(expected) == {"decode.loss_bce", "decode.acc_seg"}
    for name in found:
        torch.testing.assert_close(found[name], expected[name])
    for model, losses in ((sampling, found), (small, expected)):
        losses["decode.loss_bce"].backward()
        assert model.backbone.adapter.tensor.grad.abs().sum() > 0
    torch.testing.assert_close(sampling.backbone.adapter.tensor.grad, small.backbone.adapter.tensor.grad)


def test_an_auxiliary_head_adds_the_cross_entropy_of_its_cosines():
    head = dict(
        type="CosineHead", text_channels=32, scale=20, loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.5)
    )
    model = tiny_segmentor(names=MANY, auxiliary_head=head).train()
    plain = tiny_segmentor(names=MANY).train()
    plain.load_state_dict(model.state_dict())
    labels = some_labels([2, 9, 15, 255])
    images = torch.stack([random_image(64, 64, seed) for seed in (1, 2)])
    losses = model.loss(images, labelled(labels))
    expected = plain.loss(images, labelled(labels))["decode.loss_bce"]
    torch.testing.assert_close(losses["decode.loss_bce"], expected)
    dense, *_, text = model.extract_feat(images)
    cosine = torch.nn.functional.cosine_similarity(dense[:, None], text[None, :, 0, :, None, None], dim=2)
    logits = torch.nn.functional.interpolate(20 * cosine, size=labels.shape[-2:], mode="bilinear")
    entropy = torch.nn.functional.cross_entropy(logits, labels.squeeze(1).long(), ignore_index=255, reduction="sum")
    torch.testing.assert_close(losses["aux.loss_ce"], 0.5 * entropy / labels.numel(), rtol=1e-4, atol=1e-5)


def test_the_loss_leaves_the_samples_as_they_were():
    model = tiny_segmentor(names=MANY, train_cfg=dict(sampled_names=6)).train()
    labels = some_labels([2, 9, 15, 255])
    samples = labelled(labels)
    images = torch.stack([random_image(64, 64, seed) for seed in (1, 2)])
    first = model.loss(images, samples)["decode.loss_bce"]
    assert all(torch.equal(sample.gt_sem_seg.data, own) for sample, own in zip(samples, labels, strict=True))
    assert torch.equal(model.loss(images, samples)["decode.loss_bce"], first)


@pytest.mark.parametrize("names", [NAMES, ("cat",)])
def test_loss_is_that_of_the_heads_logits(names):
    model = tiny_segmentor(names=names).train()
    labels = some_labels([0, len(names) - 1, 255], batch=1)
    image = random_image(64, 64)
    loss = model.loss(image[None], labelled(labels))["decode.loss_bce"]
    with torch.no_grad():
        logits = model.encode_decode(image[None], [{}])
    target = torch.stack([(labels[0, 0] == name).float() for name in range(len(names))])
    expected = F.binary_cross_entropy_with_logits(logits[0], target)
    torch.testing.assert_close(loss.detach(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings", [None, dict(sampled_names=2)])
@pytest.mark.parametrize("wrong", [5, 254, -1])
def test_a_label_outside_the_vocabulary_is_named(settings, wrong):
    model = tiny_segmentor(names=NAMES, train_cfg=settings).train()
    labels = some_labels([0, 4, 255], batch=1)
    labels[0, 0, 7, 7] = wrong
    with pytest.raises(ValueError, match=rf"label {wrong} in maps/7\.png is outside the vocabulary of 5 names"):
        model.loss(random_image(64, 64)[None], labelled(labels, seg_map_path="maps/7.png"))


def test_templates_may_stand_apart_in_the_cost_volume():
    model = tiny_segmentor(
        names=NAMES,
        text_encoder=dict(type="TextEncoderNeck", templates=("a {}", "the {}"), average=False),
        decode_head=HEAD | dict(templates=2),
    )
    assert predict(model, random_image(64, 64)).seg_logits.data.shape == (5, 64, 64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(window=0), "window must be a number of pixels"),
        (dict(window=None), "window must be a number of pixels"),
        (dict(window="384"), "not '384'"),
        (dict(canvas=-1), "canvas must be a number of pixels"),
        (dict(clip_resolution=0), "clip_resolution must be"),
        (dict(overlap=1.0), "from 0 to below 1, not 1.0"),
        (dict(overlap=-0.1), "from 0 to below 1"),
        (dict(overlap="half"), "from 0 to below 1"),
        (dict(mode="slides"), "mode must be"),
        (dict(clip_resolution=None, canvas=None), "set clip_resolution, or mode='slide'"),
        (dict(clip_resolution=None, canvas=100), "set clip_resolution, or mode='slide'"),
    ],
)
def test_views_that_cannot_be_are_refused(change, said):
    views = dict(mode="slide_whole", canvas=640, window=384, overlap=0.333, clip_resolution=384)
    check_views(**views)
    check_views(**{**views, "clip_resolution": None})
    check_views(**{**views, "clip_resolution": None, "canvas": None, "mode": "slide"})
    with pytest.raises(ValueError, match=said):
        check_views(**{**views, **change})
