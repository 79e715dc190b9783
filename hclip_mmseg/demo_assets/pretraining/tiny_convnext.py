"""Pretrain the tiny ConvNeXt CLIP contrastively on rendered scenes and their captions, without masks.

MAFT+ needs a CLIP whose image tower is a ConvNeXt; this is one for the scenes, with a small text tower of its own. The
same call resumes an interrupted run from `last.pt` in the work folder. The finished model is written as
`tiny_convnext.pt`, in open_clip's format in half precision, with `tiny_convnext.log` (JSON lines) beside it.

It is trained as CLIP is, by images and captions alone, each image read as the mean of its positions. Batches, captions
and the contrastive loss are those of the tiny CLIP (`batches.py`, `losses.py`); names that no mask is ever shown for
are in the captions, as CLIP has read of everything. That positions know what lies there is a by-product, which the log
follows: the part of masks whose mean feature is nearest to its own name, of all names.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.clip import TextTower, build_clip
from hclip_mmseg.demo_assets.pretraining.batches import Phase
from hclip_mmseg.demo_assets.pretraining.losses import contrastive_loss, name_accuracy, true_captions
from hclip_mmseg.demo_assets.pretraining.run import Pretraining, Settings
from hclip_mmseg.demo_assets.pretraining.trainee import Trainee
from hclip_mmseg.demo_assets.scenes import SCENE_CLASSES, TRAIN_NAMES, render_scene
from hclip_mmseg.demo_assets.tiny_clip import PROMPT, preprocess
from hclip_mmseg.demo_assets.tiny_convnext import CONFIG_PATH

DEFAULT_PHASES = ("64:128:1-1:2400", "96:64:1-2:600", "192:24:2-4:400")


class TinyConvNeXtCLIP(Trainee):
    """An open_clip CLIP with a ConvNeXt."""

    def __init__(self) -> None:
        super().__init__(build_clip(str(CONFIG_PATH), timm_trunk=True))

    def encode_image(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] -> unit embeddings [B, embed_dim]."""
        return F.normalize(self.clip.visual(images), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Tokens [N, 77] -> unit embeddings [N, embed_dim]."""
        return F.normalize(TextTower(self.clip)(self.rows(tokens)), dim=-1)


def step_loss(model: TinyConvNeXtCLIP, batch: dict[str, Tensor], phase: Phase) -> tuple[Tensor, dict[str, float]]:
    """Loss of a batch, and how often an image's nearest object name is its own (0..1)."""
    present = batch["present"]
    x = model.encode_image(preprocess(batch["images"].numpy()))
    t = model.encode_text(batch["tokens"])
    loss = contrastive_loss(model.clip.logit_scale.exp() * x @ t.t(), true_captions(present))
    with torch.no_grad():
        accuracy = name_accuracy(x @ t[len(x) :].t(), present)
    return loss, {"name_accuracy": accuracy}


@torch.no_grad()
def mask_accuracy(model: TinyConvNeXtCLIP, scenes: int, seed: int = 2**20) -> dict[str, float]:
    """Percent of true masks whose pooled feature is nearest to its own name of all, for both groups of names."""
    visual = copy.deepcopy(model.clip.visual).eval()
    tokens = open_clip.get_tokenizer("ViT-B-32")([PROMPT.format(name) for name in SCENE_CLASSES])
    text = model.encode_text(tokens)
    hits: dict[str, list[float]] = dict(train=[], held_out=[])
    for index in range(scenes):
        scene = render_scene(seed, index, 192)
        features = visual.trunk.forward_features(preprocess(scene.image[None]))[0]
        labels = torch.from_numpy(scene.labels).long()
        for label in labels.unique().tolist():
            mask = F.interpolate((labels == label).float()[None, None], features.shape[-2:], mode="area")[0, 0]
            pooled = (features * mask).sum((1, 2)) / mask.sum()
            embedding = visual.head(visual.trunk.forward_head(pooled[None, :, None, None]))[0]
            nearest = int((text @ embedding).argmax())
            hits["train" if label < len(TRAIN_NAMES) else "held_out"].append(100.0 * (nearest == label))
    return {f"masks_{group}": float(np.mean(values)) for group, values in hits.items() if values}


def check_phases(phases: Sequence[Phase]) -> None:
    """Check that the tower takes a curriculum.

    Raises:
        ValueError: if an image's side is no multiple of 16, or tokens are left out.
    """
    for phase in phases:
        if phase.size % 16:
            raise ValueError(f"phase of size {phase.size}: sizes are multiples of 16 here, the tower's last stride")
        if phase.drop:
            raise ValueError("a ConvNeXt has no tokens to drop; write phases as SIZE:BATCH:OBJECTS:STEPS")


def pretrain(settings: Settings) -> None:
    """Pretrain the tiny ConvNeXt CLIP, or go on from where a run in that folder was.

    Raises:
        ValueError: see `check_phases`.
    """
    check_phases(settings.phases)
    Pretraining("tiny_convnext", TinyConvNeXtCLIP, step_loss, mask_accuracy, settings).run()
