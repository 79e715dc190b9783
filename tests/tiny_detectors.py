"""Small random detectors that tests build in a moment."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from tiny_models import backbone_config, randomise

import hclip_mmseg.detection
from hclip_mmseg.detection import OpenVocabFasterRCNN

BASE = ("cat", "grass", "red star")
NORM = dict(type="GN", num_groups=8)
CONFIG = hclip_mmseg.detection.__path__[0] + "/../../configs/_base_/models/ov-faster-rcnn_vitb16.py"


def detector_config(**backbone: Any) -> dict[str, Any]:
    """The config of the base file, its sizes those of ``tiny_models``' CLIP: patches of 8, widths of 48 and 32."""
    config = copy.deepcopy(Config.fromfile(CONFIG).model.to_dict())
    config["data_preprocessor"]["pad_size_divisor"] = 16
    changes = dict(guidance_layers=(), guidance_channels=(), out_layers=(0, 1, 2, 3), residual="own")
    config["backbone"] = {**backbone_config(**{**changes, **backbone}), "type": "mmseg.HCLIPBackbone"}
    config["text_encoder"]["templates"] = "scene"
    pyramid, fpn = config["neck"]
    pyramid.update(channels=48, norm_cfg=NORM)
    fpn.update(in_channels=[48] * 4, out_channels=16, norm_cfg=NORM)
    config["rpn_head"].update(in_channels=16, feat_channels=16)
    config["rpn_head"]["anchor_generator"].update(strides=[2, 4, 8, 16, 32])
    head = config["roi_head"]
    head["base_names"] = BASE
    head["bbox_roi_extractor"].update(out_channels=16, featmap_strides=[2, 4, 8, 16], finest_scale=8)
    head["bbox_head"].update(
        text_channels=32, in_channels=16, conv_out_channels=16, fc_out_channels=32, norm_cfg=NORM, num_shared_convs=2
    )
    head["region_extractor"].update(out_channels=32, featmap_strides=[8])
    config["train_cfg"]["rpn_proposal"].update(nms_pre=100, max_per_img=40)
    config["train_cfg"]["rcnn"]["sampler"]["num"] = 32
    config["test_cfg"]["rpn"].update(nms_pre=100, max_per_img=30)
    return config


def tiny_detector(names: Sequence[str] = BASE, seed: int = 0, **backbone: Any) -> OpenVocabFasterRCNN:
    """A detector in evaluation mode, its adapters random; POP's unless ``backbone`` says otherwise."""
    init_default_scope("mmdet")
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(detector_config(**backbone)))
    if model.backbone.adapter is not None:
        randomise(model.backbone.adapter)
    model.set_vocabulary(names)
    return model.eval()


def random_images(height: int = 64, width: int = 64, batch: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def samples(images: torch.Tensor, boxes: Sequence[Sequence[float]] = (), labels: Sequence[int] = ()) -> list:
    """Data samples of images as they are, each with the same boxes."""
    made = []
    for _ in images:
        shape = tuple(images.shape[-2:])
        sizes = dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape, ori_shape=shape)
        sample = DetDataSample(metainfo=dict(sizes, scale_factor=(1.0, 1.0), img_path="image.png"))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes).float().reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.long)
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        made.append(sample)
    return made
