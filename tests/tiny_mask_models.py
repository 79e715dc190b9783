"""Small random segmentors that classify masks, built in a moment."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from tiny_models import clip_geometry, randomise

from hclip_mmseg.mask_classification.fisa import FISA
from hclip_mmseg.vocabularies import as_vocabulary

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
NAMES = ("cat", "red star, star", "grass", "sky")
THINGS = NAMES[:2]


def shrink(generator: dict[str, Any]) -> None:
    """A Mask2Former of the scenes with 6 queries, 1 layer of each kind and no checkpoint."""
    generator["init_cfg"] = None
    head = generator["panoptic_head"]
    head["num_queries"] = 6
    head["pixel_decoder"]["encoder"]["num_layers"] = 1
    head["transformer_decoder"]["num_layers"] = 1


def fisa_config(**backbone: Any) -> dict[str, Any]:
    """The config of FISA on the scenes, with ``tiny_models``' CLIP at 64 pixels; ``backbone`` changes its parts."""
    config = copy.deepcopy(Config.fromfile(CONFIGS / "fisa/fisa_tiny_scenes.py").model.to_dict())
    shrink(config["generator"])
    parts = dict(
        clip=dict(model=clip_geometry(2, 2)),
        resolution=64,
        seve=dict(inner_width=8, heads=2),
        distribution_adapter=dict(channels=2),
    )
    config["backbone"] = {"type": "mmseg.FISACLIP", **parts, **backbone}
    config["criterion"]["num_points"] = 64
    return config


def tiny_fisa(seed: int = 0, noise: float = 0.05, train_generator: bool = False, **backbone: Any) -> FISA:
    """In evaluation mode, asked for :data:`NAMES`."""
    init_default_scope("mmdet")
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(dict(fisa_config(**backbone), train_generator=train_generator)))
    if noise:
        randomise(model.backbone, noise)
    model.set_vocabulary(as_vocabulary(NAMES).with_stuff(NAMES[2:]))
    return model.eval()


def samples(images: torch.Tensor, empty: bool = False) -> list[DetDataSample]:
    """Targets of images: a cat and a star before grass and sky; or nothing at all."""
    made = []
    height, width = images.shape[-2:]
    for _ in images:
        shape = dict(img_shape=(height, width), pad_shape=(height, width), batch_input_shape=(height, width))
        sample = DetDataSample(metainfo=dict(shape, ori_shape=(height, width), img_path="a.jpg"))
        masks = np.zeros((0 if empty else 2, height, width), np.uint8)
        semantic = torch.full((1, height, width), 255 if empty else 3, dtype=torch.int32)
        if not empty:
            masks[0, 8:24, 8:24] = masks[1, 30:50, 30:50] = 1
            semantic[:, height // 2 :] = 2
            semantic[:, 8:24, 8:24], semantic[:, 30:50, 30:50] = 0, 1
        labels = torch.arange(len(masks))
        sample.gt_instances = InstanceData(labels=labels, masks=BitmapMasks(masks, height, width))
        sample.gt_sem_seg = PixelData(sem_seg=semantic)
        made.append(sample)
    return made
