"""The tiny CLIP: where it lies, how it is saved small, and what its frozen dense features know."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hclip_mmseg.demo_assets.scenes import SCENE_CLASSES, TRAIN_NAMES, render_scene
from hclip_mmseg.files.writing import whole

CONFIG_PATH = Path(__file__).with_name("tiny_clip.json")
CHECKPOINT_PATH = Path(__file__).with_name("tiny_clip.pt")
PROMPT = "A photo of a {} in the scene"
FORMS = ("value", "value_cls", "block", "block_cls")


def save_compressed(state: dict[str, Tensor], path: Path) -> None:
    """Write a state dict as a deflated ``.pt`` archive that ``torch.load`` reads; replaces ``path`` at once.

    torch writes its zip archives uncompressed but reads deflated ones; the rows of untrained tokens, all
    equal, then cost next to nothing.
    """
    plain = io.BytesIO()
    torch.save(state, plain)
    deflated = zipfile.ZIP_DEFLATED
    with whole(path) as part, zipfile.ZipFile(plain) as source, zipfile.ZipFile(part, "w", deflated) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))


def build(state: dict[str, Tensor] | None = None) -> open_clip.model.CLIP:
    """The tiny CLIP in open_clip's own class, fp32, for inference, by default with the embedded weights.

    Raises:
        FileNotFoundError: the embedded checkpoint is missing from the installation.
    """
    if state is None:
        if not CHECKPOINT_PATH.is_file():
            raise FileNotFoundError(
                f"no tiny CLIP at {CHECKPOINT_PATH}; `tools/pretrain_tiny.py clip` makes one"
            )
        state = open_clip.factory.load_state_dict(str(CHECKPOINT_PATH))
    model = open_clip.model.CLIP(**json.loads(CONFIG_PATH.read_text()))
    model.load_state_dict(state)
    return model.eval()


def preprocess(images: NDArray[np.uint8]) -> Tensor:
    """RGB ``uint8 [B, H, W, 3]`` -> normalised ``float [B, 3, H, W]`` with CLIP's mean and deviation."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(open_clip.constants.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(open_clip.constants.OPENAI_DATASET_STD).view(1, 3, 1, 1)
    return (pixels - mean) / std


@torch.no_grad()
def dense_features(model: open_clip.model.CLIP, images: Tensor) -> dict[str, Tensor]:
    """Unit features per patch ``[B, h * w, embed_dim]`` in each of :data:`FORMS`.

    The last block without attention, ``out(v(ln_1(x)))``: alone (``value``), with the CLS token as every
    token's residual (``value_cls``), and both again with the block's MLP added (``block``, and ``block_cls``,
    which is what H-CLIP and CAT-Seg use).
    """
    v = model.visual
    x = v.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([v.class_embedding.expand(len(x), 1, -1), x], dim=1) + v.positional_embedding
    x = v.ln_pre(x)
    *blocks, last = v.transformer.resblocks
    for block in blocks:
        x = block(x)
    value = last.attn.in_proj_weight.chunk(3)[2], last.attn.in_proj_bias.chunk(3)[2]
    path = last.attn.out_proj(F.linear(last.ln_1(x), *value))[:, 1:]
    residual = path + x[:, :1]
    forms = {
        "value": path,
        "value_cls": residual,
        "block": path + last.mlp(last.ln_2(path)),
        "block_cls": residual + last.mlp(last.ln_2(residual)),
    }
    return {name: F.normalize(v.ln_post(tokens) @ v.proj, dim=-1) for name, tokens in forms.items()}


@torch.no_grad()
def name_embeddings(model: open_clip.model.CLIP) -> Tensor:
    """Unit text embeddings of all names of the scenes in :data:`PROMPT`, ``[names, embed_dim]``."""
    tokens = open_clip.get_tokenizer("ViT-B-32")([PROMPT.format(name) for name in SCENE_CLASSES])
    embeddings: Tensor = model.encode_text(tokens, normalize=True)
    return embeddings


def frozen_metrics(
    state: dict[str, Tensor] | None = None, *, scenes: int = 48, seed: int = 2**20
) -> dict[str, float]:
    """What frozen dense features know, in percent, on scenes of all names at 192 px.

    For each of :data:`FORMS`, over training and held-out names apart: ``{form}_miou_*`` is the mean IoU with
    all names to choose from, ``{form}_present_*`` the mean over names of the pixels right when only the names
    present are to choose from.
    """
    model = build(state)
    text = name_embeddings(model)
    rendered = [render_scene(seed, index, 192) for index in range(scenes)]
    labels = torch.stack([torch.from_numpy(scene.labels).long() for scene in rendered])
    present = torch.zeros(scenes, len(SCENE_CLASSES), dtype=torch.bool)
    present.scatter_(1, labels.flatten(1), True)
    count = len(SCENE_CLASSES)
    table = torch.zeros(count, count)
    confusion = {(form, kind): table.clone() for form in FORMS for kind in ("all", "present")}
    for i in range(0, scenes, 8):
        features = dense_features(model, preprocess(np.stack([scene.image for scene in rendered[i : i + 8]])))
        for form in FORMS:
            scores = (features[form] @ text.t()).transpose(1, 2).unflatten(2, (24, 24))
            scores = F.interpolate(scores, size=(192, 192), mode="bilinear")
            limited = scores.masked_fill(~present[i : i + 8, :, None, None], -2)
            for kind, choice in (("all", scores), ("present", limited)):
                pairs = labels[i : i + 8] * count + choice.argmax(1)
                confusion[form, kind] += torch.bincount(pairs.flatten(), minlength=count**2).view_as(table)
    groups = {"train": slice(0, len(TRAIN_NAMES)), "held_out": slice(len(TRAIN_NAMES), count)}
    result = {}
    for form in FORMS:
        table = confusion[form, "all"]
        iou = table.diag() / (table.sum(0) + table.sum(1) - table.diag())
        seen = table.sum(1) > 0
        limited = confusion[form, "present"]
        for group, part in groups.items():
            result[f"{form}_miou_{group}"] = 100 * float(iou[part][seen[part]].mean())
            right = 100 * limited.diag()[part] / limited.sum(1)[part]
            result[f"{form}_present_{group}"] = float(right[seen[part]].mean())
    return result
