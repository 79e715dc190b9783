"""A small random MAFT+ that tests build in a moment, and a batch for it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData

from hclip_mmseg.demo_assets import tiny_convnext  # noqa: F401  registers its image tower
from hclip_mmseg.mask_classification.maft_plus import MAFTPlus
from hclip_mmseg.vocabularies import as_vocabulary

WIDTH = 32
GEOMETRY = dict(
    embed_dim=WIDTH,
    vision_cfg=dict(
        timm_model_name="convnext_scenes", timm_pool="", timm_proj="mlp", timm_drop_path=0.5, image_size=64
    ),
    text_cfg=dict(context_length=77, vocab_size=49408, width=WIDTH, heads=2, layers=2),
)
ATTENTION = dict(embed_dims=16, num_heads=2, dropout=0.0, batch_first=True)
FEED_FORWARD = dict(
    embed_dims=16, feedforward_channels=24, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type="ReLU", inplace=True)
)
POSITIONS = dict(num_feats=8, normalize=True)
HEAD = dict(
    type="OpenVocabMask2FormerHead",
    feat_channels=16,
    out_channels=16,
    num_queries=6,
    num_transformer_feat_level=3,
    pixel_decoder=dict(
        type="MSDeformAttnPixelDecoder",
        num_outs=3,
        norm_cfg=dict(type="GN", num_groups=4),
        act_cfg=dict(type="ReLU"),
        encoder=dict(
            num_layers=2,
            layer_cfg=dict(self_attn_cfg=dict(num_levels=3, num_points=4, **ATTENTION), ffn_cfg=FEED_FORWARD),
        ),
        positional_encoding=POSITIONS,
    ),
    positional_encoding=POSITIONS,
    transformer_decoder=dict(
        return_intermediate=True,
        num_layers=3,
        layer_cfg=dict(self_attn_cfg=ATTENTION, cross_attn_cfg=ATTENTION, ffn_cfg=FEED_FORWARD),
        init_cfg=None,
    ),
)
NAMES = ("cat", "dog, puppy", "grass")


def maft_plus_config(backbone: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    config = dict(
        type="MAFTPlus",
        backbone=dict(type="mmseg.MAFTPlusCLIP", clip=dict(model=GEOMETRY), **(backbone or {})),
        head=HEAD,
        text_encoder=dict(type="mmseg.TextEncoderNeck", templates="a photo of a {}."),
        cdt=dict(heads=4),
        rc=dict(),
        mask_aware_loss=dict(),
        view=None,
        criterion=dict(type="MaskClassificationLoss", num_points=32),
        data_preprocessor=dict(
            type="DetDataPreprocessor", mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True, pad_size_divisor=16
        ),
    )
    return copy.deepcopy({**config, **changes})


def tiny_maft_plus(seed: int = 0, backbone: dict[str, Any] | None = None, **changes: Any) -> MAFTPlus:
    """In training mode, content-dependent transfer noisy, so that it does something."""
    init_default_scope("mmdet")
    torch.manual_seed(seed)
    model = MODELS.build(maft_plus_config(backbone, **changes))
    model.set_vocabulary(as_vocabulary(NAMES).with_stuff(NAMES[2:]))
    if model.cdt is not None:
        with torch.no_grad():
            for parameter in model.cdt.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.train()


def batch(size: int = 64) -> tuple[torch.Tensor, list[DetDataSample]]:
    """Two images: a cat, a dog and grass; and one without anything."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, size, size, generator=generator)
    samples = []
    for index in range(2):
        sample = DetDataSample(
            metainfo=dict(img_shape=(size, size - 8), ori_shape=(40, 35), batch_input_shape=(size, size))
        )
        masks = np.zeros((2, size, size), np.uint8)
        masks[0, 4:30, 4:30], masks[1, 40:60, 8:50] = 1, 1
        stuff = torch.full((1, size, size), 255)
        stuff[:, :, 50:] = 2
        if index:
            masks, stuff = masks[:0], torch.full((1, size, size), 255)
        sample.gt_instances = InstanceData(
            labels=torch.arange(len(masks)), masks=BitmapMasks(masks.reshape(-1, size, size), size, size)
        )
        sample.gt_sem_seg = PixelData(sem_seg=stuff)
        samples.append(sample)
    return images, samples
