"""The protocol of the training-free field on CLIP ViT-B/16 with random weights, text cached."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import timm
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from hclip_mmseg.apis import launch
from hclip_mmseg.costs.rows.row import Row, Step
from hclip_mmseg.reference import sliding
from hclip_mmseg.reference import training_free as literal
from hclip_mmseg.training_free.label_propagation import joined_weights, solve_dense
from hclip_mmseg.training_free.protocol import class_of_each_name
from hclip_mmseg.vocabularies import as_vocabulary, load_vocabulary

SIZE = (375, 500)
"""Height and width of most images of PASCAL VOC."""


def build(method: str, name: str, device: str, folder: str | None = None) -> Any:
    """Build a method of the configs, its names' embeddings random unit vectors.

    Args:
        method: of the config.
        name: of the vocabulary.
        device: for the model.
        folder: where random weights of the method's other model are written, in the place of its own.
    """
    config = launch.read_config(f"configs/training_free/{method}_vitb16.py").model
    config.backbone.clip.pretrained = None
    init_default_scope("mmseg")
    torch.manual_seed(0)
    if folder is not None:
        features = config.backbone.attention.features
        features.weights = str(Path(folder) / "weights.pth")
        torch.save(timm.create_model(features.model, num_classes=0).state_dict(), features.weights)
    model = MODELS.build(config).to(device).eval()
    asked = load_vocabulary(name).asked
    model.text_encoder.set_vocabulary(as_vocabulary(asked, repeats=True))
    text = F.normalize(torch.randn(len(asked), 1, model.backbone.image_tower.embed_dim), dim=-1).to(device)
    model.text_encoder.forward = lambda *arguments: text
    return model


def segment(form: str, device: str, name: str, method: str = "sclip") -> Step:
    """The label map of one image of VOC's size by a method and its protocol."""
    with TemporaryDirectory() as folder:
        model = build(method, name, device, folder if method == "proxyclip" else None)
    coarse = torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    image = F.interpolate(coarse, size=SIZE).to(device)
    if form == "ours":
        sample = SegDataSample(metainfo=dict(ori_shape=SIZE, keep_scores=False))
        return lambda: model.predict(image, [sample])
    model, image = model.cpu(), image.cpu()
    settings = model.windowed.protocol.settings(model.asked)
    prepared = literal.at_protocol_size(image[0], settings.short_side)
    classes, text = class_of_each_name(model.asked), model.text()
    dense = published_proxyclip(model) if method == "proxyclip" else sliding.sclip(model.backbone.image_tower)
    return lambda: sliding.segment(
        dense,
        prepared,
        text,
        classes,
        SIZE,
        window=settings.window,
        stride=settings.stride,
        pad=settings.pad,
        scale=settings.logit_scale,
        prob_thd=settings.prob_thd,
        area_thd=settings.area_thd,
    )


def published_proxyclip(model: Any) -> sliding.Dense:
    """ProxyCLIP with DINO's attention written out, as in DINO's own code."""
    method = model.backbone.method
    for block in method.features.vit.blocks:
        block.attn.fused_attn = False

    def features(window: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        grid = method.features.grid_of(*window.shape[1:])
        return method.features(window[None], grid)[0, 1:], grid

    return sliding.proxyclip(model.backbone.image_tower, features, method.beta, method.gamma)


def spread(form: str, device: str) -> Step:
    """LPOSS's equation for 1176 patches, those of six windows, and 47 names."""
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(1176, 64, generator=generator) + 0.5, dim=-1).to(device)
    middles = 400 * torch.rand(1176, 2, generator=generator).to(device)
    scores = torch.randn(1176, 47, generator=generator).to(device)
    weights = partial(joined_weights, features, middles, neighbours=400, power=3.0, decay=0.01)
    if form == "ours":
        return lambda: solve_dense(weights(), scores, alpha=0.95)
    return lambda: literal.spread(weights().double(), scores, alpha=0.95)


ROWS = (
    Row("sclip-voc21", partial(segment, name="pascal_voc_21@sclip"), time_target=1 / 2, memory_target=1),
    Row(
        "proxyclip-voc21",
        partial(segment, name="pascal_voc_21@proxyclip", method="proxyclip"),
        time_target=1 / 2,
        memory_target=1,
    ),
    Row("sclip-coco-stuff", partial(segment, name="coco_stuff_171@sclip"), memory_target=1),
    Row("lposs-solve", spread, time_target=1 / 4, memory_target=1),
)
