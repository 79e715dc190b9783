"""What `tools/benchmark.py` times ours against computes the same: windows, synonyms, thresholds, ProxyCLIP."""

from __future__ import annotations

import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_features import TinyPatchFeatures
from tiny_training_free import NAMES, textured_images, tiny_training_free

from hclip_mmseg.reference import sliding
from hclip_mmseg.reference import training_free as literal
from hclip_mmseg.training_free.protocol import Protocol
from hclip_mmseg.vocabularies import Vocabulary

SMALL = dict(short_side=40, window=32, stride=16)
SIZE = (57, 71)
MEMBERS = Vocabulary(
    ("background, sky, grass", "cat", "traffic light, lamp", "person"),
    members=(("background", "sky", "grass"), ("cat",), ("traffic light", "lamp"), ("person",)),
)
CLASSES = (0, 0, 0, 1, 2, 2, 3)
PROXY = dict(type="ProxyAttention", features=dict(type="TinyPatchFeatures"), beta=1.1, gamma=4.0)


def model_of(attention):
    return tiny_training_free(attention=attention, regions=None, protocol=dict(type="sclip", **SMALL))


def labels_of(model, image):
    sample = SegDataSample(metainfo=dict(ori_shape=SIZE, keep_scores=False))
    return model.predict(image, [sample])[0].pred_sem_seg.data[0]


def pad_of(kind):
    """The loops of ProxyCLIP give no number for patches of padding alone, whose features have no direction."""
    return 16 if kind == "sclip" else 1


def dense_of(kind, tower):
    """The form that is timed, and the loops."""
    if kind == "sclip":
        return sliding.sclip(tower), literal.dense_of_form(tower, "sclip", residual=True, mlp=True)
    other = TinyPatchFeatures()

    def features(window):
        grid = other.grid_of(*window.shape[1:])
        return other(window[None], grid)[0, 1:], grid

    return sliding.proxyclip(tower, features, 1.1, 4.0), literal.dense_of_proxy(tower, features, 1.1, 4.0)


@pytest.mark.parametrize(("kind", "attention"), [("sclip", "sclip"), ("proxyclip", PROXY)])
@torch.no_grad()
def test_scores_are_the_loops_and_labels_ours(kind, attention):
    model, image = model_of(attention), textured_images(1, *SIZE)
    timed, loops = dense_of(kind, model.backbone.image_tower)
    prepared, text = literal.at_protocol_size(image[0], 40), model.text()
    part = prepared[:, :32, :24]
    torch.testing.assert_close(
        sliding.window_maps(timed, part, text, pad=pad_of(kind)),
        literal.window_logits(loops, part, text, pad=pad_of(kind)),
        atol=1e-4,
        rtol=1e-3,
    )
    labels = sliding.segment(timed, prepared, text, range(len(NAMES)), SIZE, window=32, stride=16)
    assert (labels == labels_of(model, image)).float().mean() > 0.999 and len(labels.unique()) > 1


def without_small_classes(of_class, area_thd):
    """Pixel by pixel: classes, but 0, of no more than a part of the pixels that are not of class 0 have none."""
    winners = [[int(of_class[:, i, j].argmax()) for j in range(of_class.shape[2])] for i in range(of_class.shape[1])]
    areas = [sum(row.count(c) for row in winners) for c in range(len(of_class))]
    kept = [c == 0 or areas[c] > area_thd * sum(areas[1:]) for c in range(len(of_class))]
    return of_class * torch.tensor(kept)[:, None, None], kept


@pytest.mark.parametrize(("kind", "attention"), [("sclip", "sclip"), ("proxyclip", PROXY)])
@torch.no_grad()
def test_thresholds_are_the_loops(kind, attention):
    settings = dict(pad=pad_of(kind), prob_thd=0.2, area_thd=0.4)
    model, image = model_of(attention), textured_images(1, *SIZE)
    model.windowed.protocol = Protocol("sclip", **SMALL, **settings, logit_scale=90.0)
    model.set_vocabulary(MEMBERS)
    timed, loops = dense_of(kind, model.backbone.image_tower)
    prepared, text = literal.at_protocol_size(image[0], 40), model.text()
    labels = sliding.segment(timed, prepared, text, CLASSES, SIZE, window=32, stride=16, scale=90.0, **settings)

    logits = literal.sliding_logits(loops, prepared, text, 32, 16, pad_of(kind), SIZE)
    probabilities = (90.0 * logits).softmax(dim=0)
    members = [[i for i, c in enumerate(CLASSES) if c == own] for own in range(len(MEMBERS.titles))]
    of_class, kept = without_small_classes(torch.stack([probabilities[m].amax(dim=0) for m in members]), 0.4)
    expected = of_class.argmax(dim=0).masked_fill(of_class.amax(dim=0) < 0.2, 0)
    assert not all(kept) and len(expected.unique()) > 1, "the thresholds decide something"
    assert (labels == expected).float().mean() > 0.999
    assert (torch.tensor(CLASSES)[labels_of(model, image)] == expected).float().mean() > 0.999
