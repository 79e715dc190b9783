"""Writes the table of docs/towers.md by trying every model of open_clip, without memory for its numbers.

Run `python docs/towers_table.py` after a release of open_clip or a change of the towers; a test says when.
"""

from __future__ import annotations

import copy
import re
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import open_clip
import torch

from hclip_mmseg.clip import HubTokenizer, clip_config
from hclip_mmseg.compat import meta_device
from hclip_mmseg.models import ConvNeXtBackbone, HCLIPBackbone
from hclip_mmseg.training_free import TrainingFreeBackbone

PAGE = Path(__file__).with_name("towers.md")
START, END = "<!-- table: python docs/towers_table.py -->\n", "<!-- end of the table -->"
HEADINGS = ("open_clip's model", "patch", "dense tokens", "text", "adapters", "without training", "CAT-Seg's head")


def shallow(name: str) -> dict[str, Any]:
    """A model's configuration with two blocks in each tower of open_clip's own; depth changes nothing that is tried."""
    config = copy.deepcopy(clip_config(name))
    for part in (config["vision_cfg"], config["text_cfg"]):
        if isinstance(part.get("layers"), int):
            part["layers"] = 2
    return config


def row(name: str) -> tuple[str, ...]:
    """The cells of one model: what it gave, or the line that it was refused with."""
    try:
        return (name, *as_transformer(name))
    except ValueError as error:
        model = str(shallow(name))
        refusal = str(error).partition("; choose")[0].replace(f" of {model}", "").replace(model, "it")
    if clip_config(name)["vision_cfg"].get("timm_model_name", "").startswith("convnext"):
        return (name, *as_convnext(name))
    return (name, "", f"no: {refusal}", "", "", "", "")


def as_transformer(name: str) -> tuple[str, ...]:
    """What a vision transformer gives, with LoRA in both towers.

    Raises:
        ValueError: if the model is refused.
    """
    settings = dict(guidance_layers=(), guidance_channels=(), adapter=dict(type="LoRA"))
    with meta_device():  # with gradients, as in training: adapters are not folded
        backbone = HCLIPBackbone(clip=dict(model=shallow(name)), **settings)
        tower = backbone.image_tower
        side = 2 * tower.patch_size
        dense = backbone(torch.empty(1, 3, side, side)).dense
        text = backbone.encode_text(torch.zeros(1, backbone.tokenizer.context_length, dtype=torch.long))
    if dense.shape != (1, tower.embed_dim, 2, 2) or text.shape != (1, tower.embed_dim):
        raise ValueError(f"dense tokens of {tuple(dense.shape)} and texts of {tuple(text.shape)}")
    try:
        TrainingFreeBackbone.check_tower(tower, name)
        free = "yes"
    except ValueError:
        free = "no"
    form = f"{tower.embed_dim}, {tower.default_residual}"
    return (str(tower.patch_size), form, reading(backbone), "yes", free, "yes")


def as_convnext(name: str) -> tuple[str, ...]:
    """What a ConvNeXt gives."""
    with meta_device(), torch.no_grad():
        backbone = ConvNeXtBackbone(clip=dict(model=shallow(name)))
        *guidance, dense = backbone(torch.empty(1, 3, 64, 64))
        text = backbone.encode_text(torch.zeros(1, backbone.tokenizer.context_length, dtype=torch.long))
    if dense.shape != (1, backbone.embed_dim, 2, 2) or text.shape != (1, backbone.embed_dim) or len(guidance) != 2:
        raise ValueError(f"dense tokens of {tuple(dense.shape)} and texts of {tuple(text.shape)}")
    return (str(backbone.image_tower.patch_size), f"{backbone.embed_dim}, stages", reading(backbone), "no", "no", "yes")


def reading(backbone: HCLIPBackbone | ConvNeXtBackbone) -> str:
    """How the text tower reads, and by which tokenizer."""
    order = "causal" if backbone.text_tower.causal else "whole"
    return f"{order}, {backbone.tokenizer.name}" if isinstance(backbone.tokenizer, HubTokenizer) else order


def table() -> str:
    """The table of all models."""
    rows = [HEADINGS, *(row(name) for name in sorted(open_clip.list_models()))]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    release = f"open_clip {version('open_clip_torch')}:"
    return "\n".join([release, "", lines[0], "|" + "---|" * len(HEADINGS), *lines[1:]])


def page() -> str:
    """The page as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    return before + START + "\n" + table() + "\n\n" + END + re.split(re.escape(END), rest, maxsplit=1)[-1]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PAGE.write_text(page(), encoding="utf-8")
