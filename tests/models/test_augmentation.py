"""Results of flipped images, and of several views of one image put together."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from hclip_mmseg.benchmarks.augmentation import augment_test
from hclip_mmseg.models.open_vocab_model import model_inside
from hclip_mmseg.models.score_maps import unflipped
from hclip_mmseg.models.segmentors import OpenVocabTTAModel

FLIPS = {"horizontal": (2,), "vertical": (1,), "diagonal": (1, 2)}


def scenes_model(repository, name):
    cfg = Config.fromfile(repository / f"configs/{name}_tiny_scenes.py")
    init_default_scope("mmseg")
    model = MODELS.build(cfg.model).eval()
    model.set_vocabulary(["red circle", "grass", "sand"])
    return model


def sample(**meta):
    return SegDataSample(metainfo=dict(ori_shape=(192, 192), img_shape=(192, 192), **meta))


@pytest.mark.parametrize("name", ["hclip/hclip", "cliptrase/value"])
@pytest.mark.parametrize("direction", FLIPS)
def test_results_of_flipped_images_are_turned_back(name, direction, repository):
    torch.manual_seed(0)
    model, dims = scenes_model(repository, name), FLIPS[direction]
    noise = torch.randn(1, 3, 6, 6)
    image = torch.nn.functional.interpolate(noise, size=(192, 192), mode="bicubic")[0].flip(dims)
    with torch.no_grad():
        (plain,) = model.predict(image[None], [sample()])
        (turned,) = model.predict(image[None], [sample(flip=True, flip_direction=direction)])
    assert torch.equal(turned.pred_sem_seg.data, plain.pred_sem_seg.data.flip(dims))
    torch.testing.assert_close(turned.seg_logits.data, plain.seg_logits.data.flip(dims))


def test_unknown_flips_are_refused():
    with pytest.raises(ValueError, match="sideways"):
        unflipped(torch.zeros(2, 2), dict(flip=True, flip_direction="sideways"))


@pytest.mark.parametrize("wrapper", [SegTTAModel, OpenVocabTTAModel])
@pytest.mark.parametrize("names", [["red circle", "grass", "sand"], ["grass"]])
def test_views_are_put_together(wrapper, names, repository):
    model = wrapper(module=scenes_model(repository, "cliptrase/value"))
    model_inside(model).set_vocabulary(names)
    images = [torch.randint(0, 256, (3, 192, 192), dtype=torch.uint8) for _ in range(2)]
    views = dict(inputs=[[image] for image in images], data_samples=[[sample(img_path="a")], [sample(img_path="a")]])
    (found,) = model.test_step(copy.deepcopy(views))
    alone = [
        model.module.test_step(dict(inputs=[image], data_samples=[sample()]))[0].seg_logits.data for image in images
    ]
    best = (alone[0] + alone[1]).argmax(dim=0)
    assert (found.pred_sem_seg.data.squeeze() == best).float().mean() > 0.95


def test_a_test_is_augmented_with_labels_at_their_own_size(repository):
    cfg = Config.fromfile(repository / "configs/cat_seg/cat-seg_vitb16_coco-stuff.py")
    inside = copy.deepcopy(cfg.model.to_dict())
    augment_test(cfg)
    *before, augmentation = cfg.test_dataloader.dataset.pipeline
    assert [step["type"] for step in before] == ["LoadImageFromFile", "mmseg.PublishedResize"]
    sizes, flips, labels, pack = augmentation["transforms"]
    assert sizes[0]["scale_factor"] == 1.0 and flips[0]["prob"] == 0.0
    assert [labels[0]["type"], pack[0]["type"]] == ["LoadLabelMap", "PackSegInputs"]
    assert cfg.model.type == "mmseg.OpenVocabTTAModel" and cfg.model.module.to_dict() == inside


@pytest.mark.parametrize("name", ["detection/hclip", "cliptrase/unsupervised"])
def test_models_without_scores_are_refused(name, repository):
    with pytest.raises(ValueError, match="does not give"):
        augment_test(Config.fromfile(repository / f"configs/{name}_tiny_scenes.py"))


def test_mask_classifiers_give_label_maps(repository):
    cfg = Config.fromfile(repository / "configs/fisa/fisa_tiny_scenes.py")
    augment_test(cfg)
    assert [evaluator["type"] for evaluator in cfg.test_evaluator] == ["mmseg.OpenVocabIoUMetric"]
    assert cfg.model.module.test_cfg.panoptic is False
