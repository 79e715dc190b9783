"""A small random SED, its parameters under the published names, and its decoder's equations written out over these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_models import PREPROCESSOR
from torch import Tensor

from hclip_mmseg.models import OpenVocabSegmentor

TRANSFORMER = "sem_seg_head.predictor.transformer."
CHANNELS, GUIDANCE, PROJECTIONS = (32, 32, 16), (160, 80, 40), (16, 8, 4)
GEOMETRY = dict(
    embed_dim=32,
    vision_cfg=dict(timm_model_name="convnext_atto", timm_pool="", timm_proj="linear", image_size=64),
    text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=2),
)
TEMPLATES = ("a photo of a {}.", "{}", "a drawing of a {}.")


def sed_config(**decoder: Any) -> dict[str, Any]:
    own = dict(channels=CHANNELS, guidance_channels=GUIDANCE, guidance_projections=PROJECTIONS, dim=32, heads=2)
    return dict(
        type="OpenVocabSegmentor",
        data_preprocessor=PREPROCESSOR,
        backbone=dict(type="ConvNeXtBackbone", clip=dict(model=GEOMETRY), guidance_stages=3),
        text_encoder=dict(type="TextEncoderNeck", templates=TEMPLATES, average=False),
        decode_head=dict(type="GradualFusionHead", text_channels=32, templates=3, decoder={**own, **decoder}),
        test_cfg=dict(mode="whole", window=16, clip_resolution=64),
    )


def tiny_sed(seed: int = 0, **decoder: Any) -> OpenVocabSegmentor:
    init_default_scope("mmseg")
    torch.manual_seed(seed)
    model = MODELS.build(sed_config(**decoder))
    model.set_vocabulary(["cat", "grass", "sky", "tree", "dog"])
    return model.eval()


def published_shapes(
    templates: int, dim: int, channels: Sequence[int], guidance: Sequence[int], projections: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the decoder's parameters, as the published code makes them."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (dim, templates, 7, 7), "conv1.bias": (dim,)}
    widths, costs = (dim, *channels), (templates, *projections)
    for i, (wide, out) in enumerate(zip(widths, channels, strict=False)):
        g, cnext, attention = projections[i], f"decoder{i + 1}.cnext.", f"decoder{i + 1}.attention."
        shapes[f"decoder_guidance_projection.{i}.0.weight"] = (g, guidance[i], 3, 3)
        shapes[f"decoder_corr_guidance_projection.{i}.0.weight"] = (costs[i], g, 2, 2)
        shapes |= {f"decoder_{kind}guidance_projection.{i}.0.bias": (g,) for kind in ("", "corr_")}
        shapes |= {f"{cnext}dwconv.weight": (wide, 1, 9, 9), f"{cnext}dwconv.bias": (wide,), f"{cnext}gamma": (wide,)}
        shapes |= {f"{cnext}norm.{part}": (wide,) for part in ("weight", "bias")}
        shapes |= {f"{cnext}pwconv1.weight": (4 * wide, wide), f"{cnext}pwconv1.bias": (4 * wide,)}
        shapes |= {f"{cnext}pwconv2.weight": (wide, 4 * wide), f"{cnext}pwconv2.bias": (wide,)}
        for part in "qkv":
            shapes[f"{attention}attention.{part}.weight"] = (wide, wide)
            shapes[f"{attention}attention.{part}.bias"] = (wide,)
        shapes |= {f"{attention}MLP.0.weight": (4 * wide, wide), f"{attention}MLP.0.bias": (4 * wide,)}
        shapes |= {f"{attention}MLP.2.weight": (wide, 4 * wide), f"{attention}MLP.2.bias": (wide,)}
        shapes |= {f"{attention}norm{n}.{part}": (wide,) for n in (1, 2) for part in ("weight", "bias")}
        shapes |= {f"decoder{i + 1}.up.weight": (wide, wide - g, 2, 2), f"decoder{i + 1}.up.bias": (wide - g,)}
        double = f"decoder{i + 1}.conv.double_conv."
        shapes |= {f"{double}0.weight": (out, wide + g, 3, 3), f"{double}3.weight": (out, out, 3, 3)}
        shapes |= {f"{double}{n}.{part}": (out,) for n in (1, 4) for part in ("weight", "bias")}
    for name, wide in zip(("head0", "head1", "head2", "head"), widths, strict=True):
        shapes |= {f"{name}.weight": (1, wide, 3, 3), f"{name}.bias": (1,)}
    return {TRANSFORMER + name: shape for name, shape in shapes.items()}


def literal_scores(
    state: Mapping[str, Tensor],
    dense: Tensor,
    guidance: Sequence[Tensor],
    text: Tensor,
    heads: int,
    pooling: int,
    ranks: int | None = None,
) -> tuple[list[Tensor], list[int]]:
    """The scores of one image [T, h, w] at four sizes, class by class, and the classes that are left."""

    def part(name: str) -> tuple[Tensor, Tensor]:
        return state[f"{TRANSFORMER}{name}.weight"], state[f"{TRANSFORMER}{name}.bias"]

    image = dense[0] / dense[0].norm(dim=0)
    names = text / text.norm(dim=-1, keepdim=True)
    costs = [torch.stack([(image * vector[:, None, None]).sum(dim=0) for vector in name])[None] for name in names]
    maps = [F.conv2d(cost, *part("conv1"), padding=3) for cost in costs]
    left, scores = list(range(len(text))), []
    for step, head in enumerate(("head0", "head1", "head2")):
        scores.append(torch.stack([F.conv2d(x, *part(head), padding=1)[0, 0] for x in maps]))
        if ranks is not None:
            order = scores[-1].argsort(dim=0, descending=True)[:ranks]
            kept = [index for index in range(len(left)) if (order == index).any()]
            maps, costs = ([values[index] for index in kept] for values in (maps, costs))
            left = [left[index] for index in kept]
        name = f"decoder{step + 1}"
        maps = [_convnext(x, f"{name}.cnext.", state, part) for x in maps]
        maps = _between_classes(maps, f"{name}.attention.", part, heads, pooling)
        shared = F.conv2d(guidance[step], *part(f"decoder_guidance_projection.{step}.0"), padding=1).relu()
        costs = [
            F.conv_transpose2d(cost, *part(f"decoder_corr_guidance_projection.{step}.0"), stride=2).relu()
            for cost in costs
        ]
        ups = [F.conv_transpose2d(x, *part(f"{name}.up"), stride=2) for x in maps]
        maps = [
            _double(torch.cat([up, shared, cost], dim=1), f"{name}.conv.double_conv.", state, part)
            for up, cost in zip(ups, costs, strict=True)
        ]
    scores.append(torch.stack([F.conv2d(x, *part("head"), padding=1)[0, 0] for x in maps]))
    return scores, left


def _convnext(x: Tensor, name: str, state: Mapping[str, Tensor], part: Any) -> Tensor:
    width = x.shape[1]
    y = F.conv2d(x, *part(f"{name}dwconv"), padding=4, groups=width).permute(0, 2, 3, 1)
    y = F.layer_norm(y, (width,), *part(f"{name}norm"), eps=1e-6)
    y = F.linear(F.gelu(F.linear(y, *part(f"{name}pwconv1"))), *part(f"{name}pwconv2"))
    return x + (state[f"{TRANSFORMER}{name}gamma"] * y).permute(0, 3, 1, 2)


def _between_classes(maps: list[Tensor], name: str, part: Any, heads: int, pooling: int) -> list[Tensor]:
    pooled = torch.cat([F.avg_pool2d(x, pooling) for x in maps])  # [T, C, h, w]
    changed = torch.empty_like(pooled)
    width = pooled.shape[1]
    for row in range(pooled.shape[2]):
        for column in range(pooled.shape[3]):
            x = pooled[:, :, row, column]
            normed = F.layer_norm(x, (width,), *part(f"{name}norm1"))
            q, k, v = (F.linear(normed, *part(f"{name}attention.{p}")).unflatten(1, (heads, -1)) for p in "qkv")
            q, k = F.elu(q) + 1, F.elu(k) + 1
            like = torch.einsum("thc,shc->hts", q, k)
            like = like / (like.sum(dim=-1, keepdim=True) + 1e-6)
            x = x + torch.einsum("hts,shc->thc", like, v).flatten(1)
            hidden = F.linear(F.layer_norm(x, (width,), *part(f"{name}norm2")), *part(f"{name}MLP.0")).relu()
            changed[:, :, row, column] = x + F.linear(hidden, *part(f"{name}MLP.2"))
    size = maps[0].shape[-2:]
    return [
        x + F.interpolate(change[None], size=size, mode="bilinear", align_corners=True)
        for x, change in zip(maps, changed, strict=True)
    ]


def _double(x: Tensor, name: str, state: Mapping[str, Tensor], part: Any) -> Tensor:
    for conv, norm in ((0, 1), (3, 4)):
        x = F.conv2d(x, state[f"{TRANSFORMER}{name}{conv}.weight"], padding=1)
        x = F.group_norm(x, x.shape[1] // 16, *part(f"{name}{norm}")).relu()
    return x
