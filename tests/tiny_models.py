"""Small random models that tests build in a moment."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from hclip_mmseg.models import HCLIPBackbone, OpenVocabSegmentor

PREPROCESSOR = dict(
    type="SegDataPreProcessor", mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True, pad_val=0, seg_pad_val=255,
    size=(64, 64),
)  # fmt: skip
HEAD = dict(
    type="CostAggregationHead", text_channels=32, dim=16, layers=1, heads=2, window=4, appearance_dim=16,
    text_guidance_dim=16, class_length=16, decoder_channels=(32, 16), guidance_channels=(16, 8),
    guidance_projections=(8, 8),
)  # fmt: skip


def clip_geometry(image_layers: int = 4, text_layers: int = 4) -> dict[str, Any]:
    """A CLIP of 64 pixels, patch 8; widths 48 and 32, as 6 : 4 as ViT-B/16's."""
    return dict(
        embed_dim=32,
        vision_cfg=dict(image_size=64, layers=image_layers, width=48, patch_size=8, head_width=16),
        text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=text_layers),
    )


def pop_config(relation: str = "linear", **changes: Any) -> dict[str, Any]:
    return dict(type="POP", block_size=16, orthogonal=("text",), relation=dict(type=relation), **changes)


def backbone_config(**changes: Any) -> dict[str, Any]:
    config = dict(
        clip=dict(model=clip_geometry()), adapter=pop_config(), guidance_layers=(0, 1), guidance_channels=(16, 8)
    )
    return {"type": "HCLIPBackbone", **config, **changes}


def tiny_backbone(seed: int = 0, **changes: Any) -> HCLIPBackbone:
    torch.manual_seed(seed)
    config = backbone_config(**changes)
    del config["type"]
    return HCLIPBackbone(**config)


def tiny_segmentor(seed: int = 0, names: tuple[str, ...] | None = None, **changes: Any) -> OpenVocabSegmentor:
    """A segmentor of windows of 64 pixels on a canvas of 96, in evaluation mode, its adapters random."""
    init_default_scope("mmseg")
    torch.manual_seed(seed)
    config = dict(
        type="OpenVocabSegmentor",
        data_preprocessor=PREPROCESSOR,
        backbone=backbone_config(),
        text_encoder=dict(type="TextEncoderNeck"),
        decode_head=HEAD,
        test_cfg=dict(mode="slide_whole", canvas=96, window=64, clip_resolution=64),
    )
    model = MODELS.build({**config, **changes})
    if model.backbone.adapter is not None:
        randomise(model.backbone.adapter)
    if names is not None:
        model.set_vocabulary(names)
    return model.eval()


@torch.no_grad()
def randomise(module: nn.Module, scale: float = 0.1) -> None:
    """Adds noise to every parameter."""
    for parameter in module.parameters():
        parameter.add_(scale * torch.randn_like(parameter))
