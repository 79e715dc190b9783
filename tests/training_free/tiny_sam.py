"""A miniature SAM with random weights, in a file of the published form."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

SIDE, PATCH, WIDTH, HEADS, CHANNELS = 6, 8, 24, 3, 16


def write_tiny_sam(path: Path, last_is_whole: bool = True) -> Path:
    torch.manual_seed(4)
    encoder = ImageEncoderViT(
        img_size=SIDE * PATCH,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=3,
        num_heads=HEADS,
        out_chans=CHANNELS,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=3,
        global_attn_indexes=(0, 2) if last_is_whole else (0,),
    )
    prompts = PromptEncoder(
        embed_dim=CHANNELS,
        image_embedding_size=(SIDE, SIDE),
        input_image_size=(SIDE * PATCH, SIDE * PATCH),
        mask_in_chans=8,
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=CHANNELS, mlp_dim=20, num_heads=8)
    decoder = MaskDecoder(transformer_dim=CHANNELS, transformer=transformer, iou_head_hidden_dim=12)
    sam = Sam(encoder, prompts, decoder)
    with torch.no_grad():
        for parameter in sam.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    torch.save(sam.state_dict(), path)
    return path
