"""The OV-COCO detector on H-CLIP ViT-B/16 with random weights against the same without adapters."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import hclip_mmseg.detection  # noqa: F401 (registers)
from hclip_mmseg.apis import launch
from hclip_mmseg.costs.rows.row import Row, Step
from hclip_mmseg.vocabularies import load_vocabulary

CONFIG = "configs/detection/hclip_vitb16_ov-coco.py"
BOXES = 7  # what an image of COCO has in the mean


def build(form: str, device: str, names: str) -> Any:
    """Build the detector, or for the form 'frozen' the same one without adapters."""
    config = launch.read_config(CONFIG).model
    config.backbone.clip.pretrained = None
    if form == "frozen":
        config.backbone.adapter = None
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(config).to(device)
    model.set_vocabulary(load_vocabulary(names).names)
    return model


def sample(size: int, device: str) -> DetDataSample:
    """A square image's data sample, with boxes of a sixteenth to a quarter of its area."""
    shape = (size, size)
    sizes = dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
    corners = torch.rand(BOXES, 2) * size / 2
    boxes = torch.cat([corners, corners + size * (0.25 + torch.rand(BOXES, 2) / 4)], dim=1)
    truth = DetDataSample(metainfo=sizes)
    truth.gt_instances = InstanceData(bboxes=boxes, labels=torch.arange(BOXES))
    return truth.to(device)


def train(form: str, device: str, size: int = 640) -> Step:
    """A training step of one image: the 48 names, proposals, regions, backward, AdamW."""
    model = build(form, device, "ov_coco_48").train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    image = torch.randn(1, 3, size, size, device=device)
    truth = sample(size, device)

    def step() -> None:
        optimizer.zero_grad()
        torch.manual_seed(0)  # regions are sampled, the same ones in every step
        loss, _ = model.parse_losses(model.loss(image, [truth]))
        loss.backward()
        optimizer.step()

    return step


def predict(form: str, device: str, size: int = 640) -> Step:
    """Detections of 65 names in one image, text cached."""
    model = build(form, device, "ov_coco_65").eval()
    image = torch.randn(1, 3, size, size, device=device)
    truth = sample(size, device)
    return partial(model.predict, image, [truth])


ROWS = (
    Row("detection-train-adapters", train, other="frozen", training=True, time_target=1.05),
    Row("detection-predict-folded", predict, other="frozen", time_target=1.02),
)
