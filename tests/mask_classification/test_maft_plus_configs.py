"""MAFT+'s configs: each row builds, and trains what it says."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.registry import MODELS

ROWS = {
    "baseline": {"head", "void"},
    "cdt": {"head", "void", "cdt"},
    "mlp": {"head", "void", "cdt"},
    "rc": {"head", "void", "backbone"},
    "maft": {"head", "void", "backbone"},
    "maft-plus": {"head", "void", "backbone", "cdt"},
}


def build(repository, name: str):
    config = Config.fromfile(repository / f"configs/maft_plus/{name}.py")
    config.model.backbone.clip.pretrained = None
    init_default_scope(config.default_scope)
    with torch.device("meta"):
        return config, MODELS.build(config.model)


@pytest.mark.parametrize("row", ROWS)
def test_rows_train_what_they_name(repository, row):
    _, model = build(repository, f"{row}_convnext-l_coco-stuff")
    trained = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == ROWS[row]
    assert model.backbone.image_tower.strides == model.head.pixel_decoder.strides == [4, 8, 16, 32]
    assert len(model.text_encoder.templates) == 14


def test_fc_clip_has_its_published_sizes_and_names(repository):
    config, model = build(repository, "fc-clip_convnext-l_coco-panoptic")
    trained = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == ROWS["baseline"]
    assert model.head.query_feat.weight.shape == model.head.query_embed.weight.shape == (250, 256)
    assert (config.model.test_cfg.object_threshold, config.model.test_cfg.overlap_threshold) == (0.0, 0.8)
    names = {config[f"{part}_dataloader"].dataset.vocabulary for part in ("train", "val", "test")}
    assert names == {config.model.ensemble.trained} == {"coco_panoptic_133@fc-clip"}


def settings(repository, name: str) -> dict:
    """A config without its paper's figures."""
    config = Config.fromfile(repository / f"configs/maft_plus/{name}.py").to_dict()
    del config["paper"]
    return config


def test_fc_clip_s_two_panoptic_rows_differ_by_the_ensemble_alone(repository):
    plain = settings(repository, "fc-clip-plain_convnext-l_coco-panoptic")
    ensemble = settings(repository, "fc-clip_convnext-l_coco-panoptic")
    assert plain["model"].pop("ensemble") is None
    assert ensemble["model"].pop("ensemble") == dict(alpha=0.4, beta=0.8, trained="coco_panoptic_133@fc-clip")
    assert plain == ensemble


def test_maft_differs_from_compensation_alone_by_its_two_losses(repository):
    maft, rc = (settings(repository, f"{name}_convnext-l_coco-stuff") for name in ("maft", "rc"))
    assert maft["model"].pop("distillation") == dict(weight=0.1) and maft["model"].pop("rc") is None
    assert maft["model"]["cdt"] is None and maft["model"].pop("mask_aware_loss")["type"] == "published"
    del rc["model"]["rc"], rc["model"]["mask_aware_loss"]
    assert maft == rc


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("maft-plus_convnext-b_coco-stuff", "PaperLayer"),
        ("maft-plus-published_convnext-b_coco-stuff", "PublishedLayer"),
        ("maft-plus-published_convnext-l_coco-panoptic", "PublishedLayer"),
    ],
)
def test_sizes_and_forms(repository, name, form):
    config, model = build(repository, name)
    assert {type(layer).__name__ for layer in model.cdt.layers} == {form}
    assert model.backbone.embed_dim == (640 if "convnext-b" in name else 768)
    if form == "PublishedLayer":
        assert model.cdt.layers[0].panoptic == ("panoptic" in name)
    assert 4 * config.train_dataloader.batch_size == config.auto_scale_lr.base_batch_size


@pytest.mark.parametrize("row", ["baseline", "cdt", "rc", "maft-plus"])
def test_rows_on_the_scenes_are_the_same_rows(repository, row):
    config = Config.fromfile(repository / f"configs/maft_plus/{row}_tiny_scenes.py")
    import_modules_from_strings(**config.custom_imports)
    config.model.backbone.clip.update(pretrained=None, model=str(repository / config.model.backbone.clip.model))
    init_default_scope(config.default_scope)
    with torch.device("meta"):
        model = MODELS.build(config.model)
    trained = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == ROWS[row]
    assert model.backbone.image_tower.strides == [4, 8, 16, 16]
