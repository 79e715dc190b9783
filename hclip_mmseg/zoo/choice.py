"""What a name stands for: a config, its checkpoint, and the CLIP in the place of the config's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hclip_mmseg.clip import build_clip, hub_tokenizer, image_tower_of
from hclip_mmseg.clip.towers import why_not_image
from hclip_mmseg.compat import meta_device
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.paths import locate
from hclip_mmseg.training_free import TrainingFreeBackbone
from hclip_mmseg.zoo.clip_weights import OPENAI, clip_file, clip_settings
from hclip_mmseg.zoo.converted import checkpoint_of
from hclip_mmseg.zoo.metafiles import EMBEDDED, ZooModel, find_model

AT = "@"
"""Between a model without training and the CLIP that it is to work on: ``cliptrase_vitb16@ViT-L-14/openai``."""

FILES = (".py", ".json", ".yaml", ".yml", ".pth", ".pt", ".bin", ".safetensors")
"""Endings of configs and of weights, which are no names of models."""


@dataclass(frozen=True)
class Choice:
    """A model that was asked for by name.

    Attributes:
        model: as the metafiles have it.
        clip: (open_clip's model, tag) to be used in the place of the config's; None: the config's.
    """

    model: ZooModel
    clip: tuple[str, str] | None = None

    @property
    def config(self) -> str:
        """Path of the config."""
        return self.model.config

    def checkpoint(self, offline: bool = False) -> Path | None:
        """The checkpoint of the model; None where it needs none. Fetched and converted where it is not here.

        Raises:
            ValueError: if there is none for this model, or it cannot be had.
        """
        model = self.model
        if model.part is not None:
            raise InputError(
                f"{model.name} is no model to ask for names, but the {model.part} of {model.config}: "
                f"hclip-download {model.short_name} --to pretrained puts it where that config looks for it"
            )
        if model.needs == "training":
            raise InputError(
                f"nobody publishes weights of {model.name}: train them by hclip-train {model.config} and give them by "
                "--checkpoint FILE"
            )
        return None if model.weights is None else checkpoint_of(model, offline)

    def fetch_tokenizer(self, offline: bool = False) -> str | None:
        """Fetch the tokenizer of the CLIP that stands behind the name where the Hugging Face Hub has it.

        Args:
            offline: whether the network must not be used.

        Returns:
            Its name; None where there is nothing to fetch.

        Raises:
            ValueError: if it cannot be had.
        """
        tokenizer = None if self.clip is None else hub_tokenizer(self.clip[0])
        if tokenizer is None:
            return None
        tokenizer.fetch(offline)
        return tokenizer.name

    def clip_entry(self, clip: dict[str, Any], offline: bool = False) -> dict[str, Any]:
        """The entry ``clip`` of the backbone with weights that are here, for a model that has no checkpoint.

        Args:
            clip: the config's own entry.
            offline: whether the network must not be used.

        Raises:
            ValueError: if the weights cannot be had.
        """
        if self.clip is not None:
            self.fetch_tokenizer(offline)  # before the weights, which are larger
            return dict(clip_settings(*self.clip), pretrained=str(clip_file(*self.clip, offline)))
        if self.model.pretrained in (None, EMBEDDED) or locate(clip["pretrained"]) is not None:
            return clip
        file = clip_file(clip["model"], self.model.pretrained or OPENAI, offline)
        return dict(clip, pretrained=str(file))


def is_name(text: object) -> bool:
    """Whether what was given in the place of a file is a model's name: no path, and no file that is there."""
    if not isinstance(text, str) or text.endswith(FILES):
        return False
    name = text.partition(AT)[0]
    return bool(name) and not any(mark in name for mark in ("/", "\\", "::")) and locate(text) is None


def choose(name: str) -> Choice:
    """What a name stands for.

    Args:
        name: of a model, or of one without training with a CLIP of open_clip's behind it: ``NAME@MODEL/TAG``.

    Raises:
        ValueError: if no model is called so, or one that is trained is to work on another CLIP.
    """
    name, _, clip = name.partition(AT)
    model = find_model(name)
    if not clip:
        return Choice(model)
    if model.trained_on is not None or model.pretrained is None:
        raise InputError(f"{model.name} is trained on its own CLIP: only models without training take another by {AT}")
    tower, _, tag = clip.rpartition("/")
    if not tower:
        raise InputError(f"'{clip}' is no CLIP: give open_clip's model and tag, such as {name}{AT}ViT-L-14/{OPENAI}")
    clip_settings(tower, tag)
    check_clip(tower)
    return Choice(model, (tower, tag))


def check_clip(model: str) -> None:
    """Check, before anything is fetched, that methods without training can work on one of open_clip's models.

    Raises:
        ValueError: if they cannot: what its image tower lacks, and which to choose instead.
    """
    with meta_device():
        visual = build_clip(model, timm_trunk=True).visual
    TrainingFreeBackbone.check_tower(None if why_not_image(visual) else image_tower_of(visual), model)
