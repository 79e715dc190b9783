"""The OV-COCO configs say what the papers say, and train what they should."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from hclip_mmseg.apis import checks
from hclip_mmseg.files import paths

ROWS = {"frozen": (21.6, 36.4), "clim": (25.7, 42.5), "lora": (24.4, 41.5), "hclip": (25.1, 42.9)}


@pytest.fixture
def config(repository):
    return lambda row: Config.fromfile(repository / f"configs/detection/{row}_vitb16_ov-coco.py")


@pytest.mark.parametrize("row", ROWS)
def test_settings(config, row):
    cfg = config(row)
    model, head = cfg.model, cfg.model.roi_head
    assert model.backbone.out_layers == (3, 5, 7, 11)
    assert model.rpn_head.anchor_generator.strides[:4] == head.bbox_roi_extractor.featmap_strides == [4, 8, 16, 32]
    assert (head.clip_temperature, head.base_exponent, head.novel_exponent) == (75, 0.1, 0.8)
    assert (head.bbox_head.temperature, head.bbox_head.background_weight) == (50, 0.6)
    assert head.region_extractor.roi_layer.output_size == 1 and head.region_extractor.featmap_strides == [16]
    assert model.test_cfg.rcnn == dict(score_thr=0.01, nms=dict(type="nms", iou_threshold=0.4), max_per_img=100)
    assert cfg.optim_wrapper.optimizer.lr == 1e-4 and cfg.optim_wrapper.optimizer.weight_decay == 0.1
    assert cfg.optim_wrapper.clip_grad.max_norm == 1 and cfg.train_cfg.max_epochs == 3
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 64 and cfg.auto_scale_lr.enable
    jitter = next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == "RandomResize")
    assert jitter.scale == (640, 640) and jitter.ratio_range == (0.1, 2.0)
    assert cfg.train_dataloader.dataset["names"] == "ov_coco_48" and cfg.val_dataloader.dataset["names"] == "ov_coco_65"
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert (evaluator.paper.novel, evaluator.paper.base) == ROWS[row]


@pytest.mark.parametrize("row", ["frozen", "lora", "hclip"])
def test_what_is_trained(config, row):
    cfg = config(row)
    checks.take_clip_from_checkpoint(cfg)
    init_default_scope("mmdet")
    cfg.model.backbone.clip.pretrained = None
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    inside = {name for name, p in model.backbone.named_parameters() if p.requires_grad}
    positions = {"image_tower.positional_embedding", "text_tower.positional_embedding"}
    outside = [name for name, p in model.named_parameters() if not name.startswith("backbone.") and not p.requires_grad]
    assert not outside
    if row == "frozen":
        assert not inside
    else:
        assert positions < inside and all(name.startswith("adapter.") for name in inside - positions)
    assert [type(layer).__name__ for layer in model.neck[0].scales[0]].count("ConvTranspose2d") == 2
    assert len(model.roi_head.bbox_head.shared_convs) == 4 and len(model.roi_head.bbox_head.shared_fcs) == 2
    assert model.roi_head.bbox_head.fc_reg.out_features == 4, "boxes are class-agnostic"
    assert model.roi_head.bbox_head.background.shape == (1, 512)
    assert len(model.roi_head.base_names) == 48


def test_missing_weights_are_not_called_openais(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "PROJECT_ROOT", tmp_path)
    for row, hint in (("clim", False), ("frozen", True)):
        with pytest.raises(FileNotFoundError, match="CLIP's weights") as raised:
            checks.check_run(config(row), [])
        assert ("openaipublic" in str(raised.value)) == hint
