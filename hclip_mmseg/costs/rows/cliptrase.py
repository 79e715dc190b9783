"""CLIPtrase ViT-B/16 with random weights against its literal loops, or a batch against its images; text cached."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import hclip_mmseg.training_free  # noqa: F401 (registers)
from hclip_mmseg.apis import launch
from hclip_mmseg.costs.rows.row import Row, Step
from hclip_mmseg.reference import cliptrase as literal

IMAGES = 4


def build(device: str, size: int, names: int) -> Any:
    """Build the model of the configs at ``size`` pixels, its names replaced by random embeddings."""
    config = launch.read_config(f"configs/cliptrase/cliptrase_vitb16_{size}_ade150.py").model
    config.backbone.clip.pretrained = None
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = MODELS.build(config).to(device).eval()
    model.text_encoder = RandomNames(names, model.backbone.image_tower.embed_dim).to(device)
    return model


class RandomNames(torch.nn.Module):
    """Stands for the text neck: as many unit vectors as there are names."""

    def __init__(self, names: int, width: int) -> None:
        super().__init__()
        self.vocabulary = tuple(map(str, range(names)))
        self.embeddings: torch.Tensor
        self.register_buffer("embeddings", F.normalize(torch.randn(names, 1, width), dim=-1))

    def forward(self, encode_text: object, parameters: object) -> torch.Tensor:
        """Embeddings [names, 1, width], whatever the tower and its parameters are."""
        return self.embeddings


def flat_images(device: str, size: int, images: int = IMAGES) -> torch.Tensor:
    """Images of flat areas with noise, so that there are regions to be found."""
    generator = torch.Generator().manual_seed(0)
    areas = F.interpolate(torch.randn(images, 3, 6, 6, generator=generator), size=(size, size))
    return (3 * areas + 0.3 * torch.randn(images, 3, size, size, generator=generator)).to(device)


def segment(form: str, device: str, size: int, names: int) -> Step:
    """Label maps of four images."""
    model, images = build(device, size, names), flat_images(device, size)
    if form == "ours":
        meta = dict(ori_shape=(size, size), keep_scores=False)  # label maps, as the other form gives
        return lambda: model.predict(images, [SegDataSample(metainfo=meta) for _ in images])
    model, images = model.cpu(), images.cpu()  # it works on one processor, as the published script does
    text, finder = model.text_encoder.embeddings[:, 0], model.region_finder
    tower, scale = model.backbone.image_tower, model.backbone.logit_scale
    settings = ("cliptrase", finder.epsilon, finder.min_samples)

    def step() -> object:
        assert model is not None  # the published script holds its whole CLIP too, text tower included
        return [literal.segment(tower, image, text, scale, *settings) for image in images]

    return step


def batch(form: str, device: str, size: int, images: int) -> Step:
    """Label maps of a batch at once, or for the form 'apart' of its images one by one; 150 names."""
    model, pixels = build(device, size, 150), flat_images(device, size, images)
    meta = dict(ori_shape=(size, size), keep_scores=False)
    parts = pixels.split(1 if form == "apart" else images)
    return lambda: [model.predict(part, [SegDataSample(metainfo=meta) for _ in part]) for part in parts]


ROWS = (
    Row("cliptrase-224", partial(segment, size=224, names=150), time_target=1 / 2, memory_target=1),
    Row("cliptrase-336", partial(segment, size=336, names=150), time_target=1 / 8, memory_target=1),
    Row("cliptrase-336-names-847", partial(segment, size=336, names=847), time_target=1 / 3, memory_target=1),
    Row("cliptrase-224-images-16", partial(batch, size=224, images=16), other="apart", gpu=True),
    Row("cliptrase-336-images-16", partial(batch, size=336, images=16), other="apart", gpu=True),
)
