"""The OV-COCO configs say what the papers say, and train what they should."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope

from hclip_mmseg.apis import checks
from hclip_mmseg.clip import resolve_templates
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
    assert cfg.val_dataloader.dataset.asked == "coco_object_80"
    assert model.rpn_head.num_convs == 2 and (head.bbox_head.num_cls_fcs, head.bbox_head.num_reg_fcs) == (1, 1)
    assert len(resolve_templates(model.text_encoder.templates)) == (63 if row in ("frozen", "clim") else 1)
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
    outside = [name for name, p in model.named_parameters() if not name.startswith("backbone.") and not p.requires_grad]
    assert not outside
    if row == "frozen":
        assert not inside
    else:
        assert inside and all(name.startswith("adapter.") for name in inside)
    assert [type(layer).__name__ for layer in model.neck[0].scales[0]].count("ConvTranspose2d") == 2
    assert len(model.roi_head.bbox_head.shared_convs) == 4 and len(model.roi_head.bbox_head.shared_fcs) == 2
    assert model.roi_head.bbox_head.fc_reg.out_features == 4, "boxes are class-agnostic"
    assert model.roi_head.bbox_head.background.shape == (1, 512)
    assert len(model.roi_head.base_names) == 48


PUBLISHED = dict(lr=1e-4, weight_decay=0.1)
"""CLIM's rule: AdamW without exceptions, on all but CLIP, which is frozen."""
OURS = {"roi_head.bbox_head.log_temperature": dict(lr=1e-4, weight_decay=0.0)}  # its logarithm; see docs/detection.md


def built(cfg):
    checks.take_clip_from_checkpoint(cfg)
    init_default_scope("mmdet")
    cfg.model.backbone.clip.pretrained = None
    with torch.device("meta"):
        return MODELS.build(cfg.model)


def test_clims_parameter_groups_and_schedule_are_the_published(config):
    cfg = config("clim")
    model = built(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: {key: group[key] for key in PUBLISHED}
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.requires_grad
    }
    trained = {name for name, parameter in model.named_parameters() if not name.startswith("backbone.")}
    assert found == {name: OURS.get(name, PUBLISHED) for name in trained}
    assert {part.split(".")[0] for part in trained} == {"neck", "rpn_head", "roi_head"}
    assert isinstance(optimizer, torch.optim.AdamW) and cfg.optim_wrapper.type == "mmseg.BF16OptimWrapper"

    plain = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(scheduler, optimizer=plain), default_args=dict(_scope_="mmdet"))
        for scheduler in cfg.param_scheduler
    ]
    rates = []
    for _ in range(600):
        rates.append(plain.param_groups[0]["lr"])
        plain.step()
        for scheduler in schedulers:
            scheduler.step()
    published = [1e-4 * (0.001 + 0.999 * min(step / 249, 1)) for step in range(600)]
    assert rates == pytest.approx(published, rel=1e-6)


def test_batch_norms_over_all_processes_are_an_option(config):
    def norms(row):
        return {type(module).__name__ for module in built(config(row)).modules() if hasattr(module, "affine")}

    assert norms("clim") == {"GroupNorm"} and norms("clim-syncbn") == {"SyncBatchNorm"}
    ours, published = (dict(built(config(row)).named_parameters()).keys() for row in ("clim", "clim-syncbn"))
    assert len(ours) == len(published)


def test_a_detector_of_before_is_built_by_naming_its_layers(config, repository):
    cfg = config("frozen")
    old = dict(rpn_head=dict(num_convs=1), roi_head=dict(bbox_head=dict(num_cls_fcs=0, num_reg_fcs=0)))
    cfg.merge_from_dict(dict(model=old))
    names = set(dict(built(cfg).named_parameters()))
    assert {"rpn_head.rpn_conv.weight", "roi_head.bbox_head.fc_cls.weight"} < names
    assert not any("cls_fcs" in name or "reg_fcs" in name or "rpn_conv.0" in name for name in names)
    scenes = Config.fromfile(repository / "configs/detection/hclip_tiny_scenes.py")
    outside = {name for name in names if not name.startswith("backbone.")}
    assert outside == {name for name, _ in built(scenes).named_parameters() if not name.startswith("backbone.")}


def test_missing_weights_are_not_called_openais(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "PROJECT_ROOT", tmp_path)
    for row, hint in (("clim", False), ("frozen", True)):
        with pytest.raises(FileNotFoundError, match="CLIP's weights") as raised:
            checks.check_run(config(row), [])
        assert ("openaipublic" in str(raised.value)) == hint
