"""Weights of the networks beside CLIP, such as DINO, by the names that timm knows them under."""

from __future__ import annotations

from pathlib import Path

import timm
from huggingface_hub import try_to_load_from_cache
from timm.models import get_pretrained_cfg

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.home import home, hub_cache
from hclip_mmseg.zoo.download import brought


def timm_file(model: str, offline: bool = False) -> Path:
    """The weights that timm publishes of a model, fetched where neither the Hub's cache nor ``HCLIP_HOME`` has them.

    Args:
        model: timm's name, such as 'vit_base_patch8_224.dino'.
        offline: whether the network must not be used.

    Raises:
        ValueError: if timm knows no such model or publishes no weights of it, or they cannot be had: which address, and
            where to put the file.
    """
    settings = get_pretrained_cfg(model) if timm.is_model(model) else None
    if settings is None:
        raise InputError(f"timm knows no model {model!r}, such as 'vit_base_patch14_dinov2'")
    if not settings.hf_hub_id:
        raise InputError(f"timm publishes no weights of {model}: give a file of them as 'weights'")
    repository, _, revision = settings.hf_hub_id.partition("@")
    file = settings.hf_hub_filename or "model.safetensors"
    kept = try_to_load_from_cache(repository, file, cache_dir=hub_cache(), revision=revision or None)
    if isinstance(kept, str):
        return Path(kept)
    url = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}/{file}"
    place = home() / "timm" / f"{repository.rpartition('/')[2]}{Path(file).suffix}"
    return brought(model, url, place, offline)
