"""Weights of the networks beside CLIP, such as DINO, by the names that timm knows them under."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import try_to_load_from_cache
from timm.models import get_pretrained_cfg

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.home import home
from hclip_mmseg.files.paths import locate
from hclip_mmseg.zoo.download import brought

FEATURES = "TimmPatchFeatures"
"""Type of the entries of a config that name a model of timm and a file of its weights."""


def timm_entries(config: Any) -> Iterator[dict[str, Any]]:
    """The entries of a model's config that name a model of timm."""
    if isinstance(config, dict) and config.get("type") == FEATURES:
        yield config
    parts = config.values() if isinstance(config, dict) else config if isinstance(config, list | tuple) else ()
    for part in parts:
        yield from timm_entries(part)


def lacks_weights(entry: Mapping[str, Any], by_name: bool) -> bool:
    """Whether the weights of an entry are to be fetched.

    Args:
        entry: of a config, that names a model of timm.
        by_name: whether the model was asked for by its name, so that a file that is not there is fetched too; else
            only entries without ``weights`` are meant.
    """
    given = entry.get("weights")
    return given is None or (by_name and locate(given) is None)


def fill_timm_weights(config: Any, by_name: bool, offline: bool = False) -> None:
    """Write into a model's config the weights that timm publishes, fetched where they are not here.

    Args:
        config: of the model; changed in place.
        by_name: see :func:`lacks_weights`.
        offline: whether the network must not be used.

    Raises:
        ValueError: as :func:`timm_file`.
    """
    for entry in timm_entries(config):
        if lacks_weights(entry, by_name):
            entry["weights"] = str(timm_file(entry["model"], offline))


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
    kept = try_to_load_from_cache(repository, file, revision=revision or None)
    if isinstance(kept, str):
        return Path(kept)
    url = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}/{file}"
    place = home() / "timm" / f"{repository.rpartition('/')[2]}{Path(file).suffix}"
    return brought(model, url, place, offline)
