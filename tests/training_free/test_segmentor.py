"""The segmentor's label maps against the literal loops; sizes, background, scores, reaches."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_training_free import NAMES, REGIONS, textured_images, tiny_training_free
from torch.export import Dim

from hclip_mmseg.apis import OpenVocabInferencer
from hclip_mmseg.costs.kernels import Kernels
from hclip_mmseg.models.name_groups import NameGroups
from hclip_mmseg.reference import cliptrase as literal
from hclip_mmseg.training_free import UntrainedDistributed
from hclip_mmseg.vocabularies import load_vocabulary


def text_of(model) -> torch.Tensor:
    with torch.no_grad():
        return model.text_encoder(model.backbone.encode_text, model.backbone.text_parameters())[:, 0]


def labels_of(results) -> np.ndarray:
    return np.stack([result.pred_sem_seg.data[0].numpy() for result in results])


@pytest.mark.parametrize("form", ["clip", "value", "sclip", "cliptrase"])
@pytest.mark.parametrize("times_cls", [False, True])
@torch.no_grad()
def test_labels_are_the_literal_loops(form, times_cls):
    model = tiny_training_free(attention=form, times_cls=times_cls)
    images = textured_images(5)
    regions = REGIONS if form == "cliptrase" else {}
    expected = [
        literal.segment(
            model.backbone.image_tower, image, text_of(model), model.backbone.logit_scale, form, times_cls=times_cls,
            **regions,
        )
        for image in images
    ]  # fmt: skip
    results = model.predict(images)
    np.testing.assert_array_equal(labels_of(results), expected)
    assert len(np.unique(expected)) > 1
    if form == "cliptrase":
        model.region_finder = None
        assert (labels_of(model.predict(images)) != expected).any(), "the regions change nothing in this test"


@torch.no_grad()
def test_without_clusters_the_patches_stand():
    model = tiny_training_free(regions=dict(epsilon=1e-6, min_samples=3))
    images = textured_images(2)
    with_regions = labels_of(model.predict(images))
    model.region_finder = None
    np.testing.assert_array_equal(with_regions, labels_of(model.predict(images)))


@torch.no_grad()
def test_batches_do_not_matter():
    model = tiny_training_free(images_at_once=2)
    images = textured_images(5)
    together = labels_of(model.predict(images))
    np.testing.assert_array_equal(together, np.concatenate([labels_of(model.predict(one[None])) for one in images]))


@torch.no_grad()
def test_images_keep_their_shape_and_lose_their_padding():
    model = tiny_training_free()
    image = textured_images(1, 50, 100)
    assert model.at_resolution(image).shape == (1, 3, 64, 128)
    alone = model.predict(image, [SegDataSample(metainfo=dict(ori_shape=(75, 150)))])
    assert alone[0].pred_sem_seg.data.shape == (1, 75, 150)
    padded = torch.nn.functional.pad(image, (0, 20, 0, 14))
    sample = SegDataSample(metainfo=dict(ori_shape=(75, 150), padding_size=[0, 20, 0, 14]))
    np.testing.assert_array_equal(labels_of(model.predict(padded, [sample])), labels_of(alone))


@torch.no_grad()
def test_scores_are_the_patches_probabilities():
    model = tiny_training_free(attention="value")
    images = textured_images(1)
    result = model.predict(images)[0]
    scores = result.seg_logits.data
    assert scores.shape == (len(NAMES), 64, 64)
    torch.testing.assert_close(scores.sum(dim=0), torch.ones(64, 64))
    view = model.backbone.look(images, correlate=False)
    patches = literal.patch_logits(view.tokens[0], text_of(model), model.backbone.logit_scale, False).softmax(dim=1)
    torch.testing.assert_close(scores[2], literal.enlarged(patches[:, 2].view(8, 8), (64, 64)))
    model.score_memory = 4 * len(NAMES) * 64 * 64 - 1
    assert "seg_logits" not in model.predict(images)[0]


@torch.no_grad()
def test_labels_are_of_classes_whatever_order_the_names_have():
    model, images, found = tiny_training_free(), textured_images(1), []
    for folds in (torch.tensor([2, 0, 1, 4, 3]), torch.tensor([1, 2, 0, 3, 4])):
        groups = NameGroups(tuple("abcde"), tuple(folds.tolist()))
        sample = SegDataSample(metainfo=dict(ori_shape=tuple(images.shape[-2:]), name_groups=groups))
        labels = model.predict(images, [sample])[0].pred_sem_seg.data
        found.append(folds.argsort()[labels])  # as names
    assert len(found[0].unique()) > 1 and torch.equal(*found)


def test_reach_own_and_labels():
    images = textured_images(2)
    own = tiny_training_free(attention="sclip", reach="own")
    apart = tiny_training_free(attention="sclip", reach="labels")
    # every patch a label of its own: the same as reaching itself alone
    labels = torch.arange(64).view(8, 8).repeat_interleave(8, 0).repeat_interleave(8, 1)[None]
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels)) for _ in images]
    np.testing.assert_array_equal(labels_of(apart.predict(images, samples)), labels_of(own.predict(images)))
    # one label for all: all patches reach each other, and no longer the CLS token
    one = [SegDataSample(gt_sem_seg=PixelData(data=0 * labels)) for _ in images]
    apart.predict(images, one)
    with pytest.raises(ValueError, match="needs label maps"):
        apart.predict(images)
    with pytest.raises(ValueError, match="reach must be one of all, own, labels"):
        tiny_training_free(reach="none")


def test_inferencer_needs_no_checkpoint(repository):
    inferencer = OpenVocabInferencer(repository / "configs/cliptrase/cliptrase_tiny_scenes.py", device="cpu")
    assert type(inferencer.model).__name__ == "TrainingFreeSegmentor"
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    result = next(inferencer([image], ["grass", "a cat"], scores=True))
    assert result.labels.shape == (60, 90)
    assert result.scores.shape == (2, 60, 90)
    assert result.vocabulary == ("grass", "a cat")


def test_nothing_is_trained():
    model = tiny_training_free()
    assert not any(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(NotImplementedError, match="nothing to train"):
        model(textured_images(1), [SegDataSample()], mode="loss")


def test_wrapper_for_several_processes():
    from mmengine.model import is_model_wrapper

    model = tiny_training_free(attention="value")
    wrapped = UntrainedDistributed(model, device_ids=None, broadcast_buffers=False)
    assert is_model_wrapper(wrapped)  # so that hooks look for the model inside
    batch = dict(inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)], data_samples=[SegDataSample()])
    assert wrapped.test_step(batch)[0].pred_sem_seg.data.equal(model.test_step(batch)[0].pred_sem_seg.data)


def test_the_cls_token_counts_for_the_vocabularies_that_are_named():
    images = textured_images(1)
    model = tiny_training_free(times_cls=["pascal_voc_20"])
    always, never = (tiny_training_free(times_cls=times_cls) for times_cls in (True, False))
    for names, same in ((load_vocabulary("pascal_voc_20").asked, always), (("cat", "grass"), never)):
        for other in (model, always, never):
            other.set_vocabulary(names)
        with torch.no_grad():
            assert torch.equal(model.encode_decode(images), same.encode_decode(images))
            assert not torch.equal(always.encode_decode(images), never.encode_decode(images))


def test_templates_kept_apart_are_refused():
    apart = dict(type="TextEncoderNeck", vocabulary=NAMES, templates="vild", average=False)
    with pytest.raises(ValueError, match="TrainingFreeSegmentor compares with one embedding a name"):
        tiny_training_free(text_encoder=apart)


# ---- graphs


@pytest.mark.parametrize("attention", ["clip", "value", "sclip", "cliptrase"])
@torch.no_grad()
def test_a_pass_is_one_exported_graph_for_every_size(attention):
    path = tiny_training_free(attention=attention).image_pass()
    sizes = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}
    given = textured_images(2, 64, 96)
    exported = torch.export.export(path, (given,), strict=False, dynamic_shapes=(sizes,)).module()
    for shape in ((2, 64, 96), (1, 80, 64), (3, 64, 64)):
        images = textured_images(*shape)
        torch.testing.assert_close(exported(images), path(images), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_pass_is_one_compiled_graph():
    model, images = tiny_training_free(), textured_images(2)
    compiled = torch.compile(model.image_pass(), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images), model.image_pass()(images), rtol=0, atol=0)


@torch.no_grad()
def test_a_pass_never_waits_for_the_device():
    path = tiny_training_free().image_pass()
    with Kernels() as kernels:
        path(textured_images(2, 64, 96))
    assert kernels.calls and not kernels.waits


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(images_at_once=0), "model.images_at_once must be at least 1, not 0"),
        (dict(score_memory=-1), "model.score_memory must be at least 0, not -1"),
        (dict(resolution=0), "model.resolution must be at least 1, not 0"),
        (dict(regions=dict(epsilon=0.7, min_samples=3, workers=0)), "regions.workers must be at least 1, not 0"),
        (dict(reach="own", attention="clip"), "reach='own' is of tokens that are compared with their like"),
        (dict(attention="value", backbone=dict(similarity="cosine")), "similarity='cosine' is of tokens that are"),
        (dict(attention=dict(type="RecursiveAttention"), backbone=dict(similarity="cosine")), "similarity='cosine'"),
        (dict(attention=dict(type="naclip", sigma="wide")), "sigma must be above 0 patches, not 'wide'"),
        (dict(protocol=dict(type="sclip"), windowed=dict(smoothing=dict(type="GlobalAggregation"))),
         "windowed.smoothing: GlobalAggregation belongs under windowed.aggregation"),
        (dict(protocol=dict(type="sclip"), windowed=dict(stitch=True, aggregation=dict(type="PAMR"))),
         "windowed.aggregation: PAMR belongs under windowed.smoothing"),
    ],
)  # fmt: skip
def test_what_does_not_go_is_said_when_the_model_is_built(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tiny_training_free(**settings)
