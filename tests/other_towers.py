"""Small CLIPs of other kinds than OpenAI's: SigLIP, EVA-02, CLIPA, MetaCLIP 2, and timm's ViT with a CLS token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.models import register_model
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import PreTrainedTokenizerFast

from hclip_mmseg.clip import build_clip

WORDS = ("<pad>", "</s>", "<unk>", "<s>", "a", "photo", "of", "cat", "sky", "traffic", "light", ".")


@register_model
def siglip_of_tests(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """As timm's vit_base_patch16_siglip_224."""
    return _vit(kwargs, class_token=False)


@register_model
def vit_of_tests(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """As timm's vit_large_patch14_clip_224."""
    return _vit(kwargs, pre_norm=True)


@register_model
def eva02_of_tests(pretrained: bool = False, **kwargs: Any) -> Eva:
    """As timm's eva02_base_patch16_clip_224."""
    own = dict(
        qkv_fused=False, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True, use_rot_pos_emb=True,
        ref_feat_shape=(4, 4), mlp_ratio=4 * 2 / 3,
    )  # fmt: skip
    return Eva(img_size=32, patch_size=8, embed_dim=48, depth=4, num_heads=4, **_taken(kwargs), **own)


def _vit(kwargs: dict[str, Any], **own: Any) -> VisionTransformer:
    return VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=4, num_heads=4, **_taken(kwargs), **own
    )


def _taken(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name in ("num_classes", "global_pool")}


def geometry(kind: str, tokenizer: str = "") -> dict[str, Any]:
    """The entries of open_clip's configuration of that kind, with small towers."""
    text: dict[str, Any] = dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=2)
    vision: dict[str, Any] = dict(image_size=32)
    own = dict(context_length=16, vocab_size=len(WORDS), hf_tokenizer_name=tokenizer)
    if kind == "siglip":
        vision |= dict(timm_model_name="siglip_of_tests", timm_pool="map", timm_proj="none")
        text |= dict(no_causal_mask=True, proj_bias=True, pool_type="last", norm_kwargs=dict(eps=1e-6), **own)
        text |= dict(tokenizer_kwargs=dict(clean="canonicalize"))
        return dict(embed_dim=48, custom_text=True, init_logit_bias=-10, vision_cfg=vision, text_cfg=text)
    if kind == "eva02":
        vision |= dict(timm_model_name="eva02_of_tests", timm_pool="token", timm_proj=None)
    elif kind == "mobileclip2":
        vision |= dict(timm_model_name="vit_of_tests", timm_pool="token", timm_proj=None)
        text |= dict(no_causal_mask=True)
    else:
        vision |= dict(layers=4, width=48, patch_size=8, head_width=16)
    if kind == "clipa":
        vision |= dict(pool_type="avg", no_ln_pre=True, final_ln_after_pool=True)
        text |= dict(pool_type="last", no_causal_mask=True, tokenizer_kwargs=dict(strip_sep_token=True), **own)
    if kind == "metaclip2":
        text |= dict(pool_type="eos", eos_id=WORDS.index("</s>"), **own)
    custom = dict(custom_text=True) if kind in ("eva02", "mobileclip2") else {}
    return dict(embed_dim=32, vision_cfg=vision, text_cfg=text, **custom)


KINDS = ("siglip", "eva02", "clipa", "metaclip2", "mobileclip2")


def tiny_tokenizer(folder: Path) -> str:
    """A tokenizer of a few words in the Hub's form; the folder that it lies in."""
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", sep_token="</s>"
    ).save_pretrained(folder)
    return str(folder)


def tiny_clip(kind: str, tokenizer: str = "", seed: int = 0) -> nn.Module:
    """A small CLIP of a kind with random weights, none of which is zero."""
    torch.manual_seed(seed)
    clip = build_clip(geometry(kind, tokenizer))
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return clip
