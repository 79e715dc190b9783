"""MAFT+ on ConvNeXt-B with random weights against its equations written out, mask by mask; proposals are given."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from mmseg.registry import MODELS

from hclip_mmseg.apis import launch
from hclip_mmseg.costs.rows.row import Row, Step
from hclip_mmseg.mask_classification.classification import SynonymTable
from hclip_mmseg.mask_classification.maft_plus import Proposals
from hclip_mmseg.reference import maft_plus as direct

CONFIG = "configs/maft_plus/maft-plus_convnext-b_coco-stuff.py"
STRIDE = 32


def build(device: str, names: int) -> Any:
    """Build a MAFT+ with as many class names, each without synonyms."""
    torch.manual_seed(0)
    config = launch.read_config(CONFIG)
    config.model.backbone.clip.pretrained = None
    init_default_scope(config.default_scope)
    model = MODELS.build(config.model).to(device)
    model.synonyms = SynonymTable([f"name {number}" for number in range(names)])
    return model


def proposed(model: Any, proposals: int, size: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Text embeddings, and mask logits at a quarter of an image's size."""
    text = torch.randn(len(model.vocabulary), model.backbone.embed_dim, device=device)
    blobs = torch.randn(1, proposals, size // 64, size // 64, device=device)
    return F.normalize(text, dim=-1), F.interpolate(blobs, (size // 4, size // 4), mode="bilinear")


def classify(form: str, device: str, names: int = 150, proposals: int = 100, size: int = 1024) -> Step:
    """Scores of an image's proposals from CLIP's last map, text cached."""
    model = build(device, names).eval()
    text, masks = proposed(model, proposals, size, device)
    channels = model.backbone.image_tower.channels[-1]
    dense = torch.randn(1, channels, size // STRIDE, size // STRIDE, device=device)
    return lambda: _scores(model, form, dense, text, masks)


def train(form: str, device: str, names: int = 171, proposals: int = 100, size: int = 512, instances: int = 12) -> Step:
    """A step of the tower and the transfer: the mask-aware loss and compensation, AdamW."""
    model = build(device, names).train()
    text, masks = proposed(model, proposals, size, device)
    image = torch.randn(1, 3, size, size, device=device)
    truth = F.interpolate(torch.randn(1, instances, 8, 8, device=device), (size, size), mode="bilinear")[0] > 0
    targets = [InstanceData(labels=torch.arange(instances, device=device), masks=truth.long())]
    tuned = [*model.backbone.parameters(), *model.cdt.parameters()]
    optimizer = torch.optim.AdamW([parameter for parameter in tuned if parameter.requires_grad], lr=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        dense, frozen = model.backbone(image)[-1], model.backbone.frozen_trunk(image)
        if form == "ours":
            logits = model.clip_logits(_given(model, dense, text, masks))
            loss = model.mask_aware_loss(logits, masks, targets) + model.rc(dense, frozen)
        else:
            scores = _scores(model, form, dense, text, masks)
            loss = direct.mask_aware_loss(scores, masks, targets) + direct.compensation(dense, frozen)
        loss.backward()
        optimizer.step()

    return step


def _given(model: Any, dense: torch.Tensor, text: torch.Tensor, masks: torch.Tensor) -> Proposals:
    projected = model.backbone.project(dense.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return Proposals(dense, text, model.cdt(text, projected), [], [masks])


def _scores(model: Any, form: str, dense: torch.Tensor, text: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    scores: torch.Tensor
    if form == "ours":
        scores = model.clip_logits(_given(model, dense, text, masks))[..., :-1].softmax(dim=-1)
    else:
        scores = direct.clip_scores(model, dense, text, [[name] for name in range(len(text))], masks)
    return scores


ROWS = (
    *(
        Row(f"maft-plus-names-{names}", partial(classify, names=names), plot=(("MAFT+: names", names),))
        for names in (7, 59, 150, 459, 847)
    ),
    *(
        Row(
            f"maft-plus-proposals-{proposals}",
            partial(classify, proposals=proposals),
            plot=(("MAFT+: proposals", proposals),),
        )
        for proposals in (25, 100, 200, 400)
    ),
    Row("maft-plus-train-171", train, training=True),
)
