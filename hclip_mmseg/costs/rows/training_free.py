"""The protocol of the training-free field on CLIP ViT-B/16 with random weights, text cached."""

from __future__ import annotations

from functools import partial
from typing import Any

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


def build(name: str, device: str) -> Any:
    """Build SCLIP of the configs, its names' embeddings random unit vectors."""
    config = launch.read_config("configs/training_free/sclip_vitb16.py").model
    config.backbone.clip.pretrained = None
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = MODELS.build(config).to(device).eval()
    asked = load_vocabulary(name).asked
    model.text_encoder.set_vocabulary(as_vocabulary(asked, repeats=True))
    text = F.normalize(torch.randn(len(asked), 1, model.backbone.image_tower.embed_dim), dim=-1).to(device)
    model.text_encoder.forward = lambda *arguments: text
    return model


def segment(form: str, device: str, name: str) -> Step:
    """The label map of one image of VOC's size by SCLIP and its protocol."""
    model = build(name, device)
    coarse = torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    image = F.interpolate(coarse, size=SIZE).to(device)
    if form == "ours":
        sample = SegDataSample(metainfo=dict(ori_shape=SIZE, keep_scores=False))
        return lambda: model.predict(image, [sample])
    model, image = model.cpu(), image.cpu()
    settings = model.windowed.protocol.settings(model.asked)
    prepared = literal.at_protocol_size(image[0], settings.short_side)
    classes, text = class_of_each_name(model.asked), model.text()
    thresholds = dict(scale=settings.logit_scale, prob_thd=settings.prob_thd)
    return lambda: sliding.segment(model.backbone.image_tower, prepared, text, classes, SIZE, **thresholds)


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
    Row("sclip-coco-stuff", partial(segment, name="coco_stuff_171@sclip"), memory_target=1),
    Row("lposs-solve", spread, time_target=1 / 4),
)
