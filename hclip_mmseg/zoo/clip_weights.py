"""CLIP's own weights, by the tags that open_clip knows them under."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import try_to_load_from_cache
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.home import HOME, home, is_offline
from hclip_mmseg.zoo.cache import locked

OPENAI = "openai"


def clip_settings(model: str, tag: str) -> dict[str, Any]:
    """The entry ``clip`` of a backbone for one of open_clip's models, without its weights' file.

    Args:
        model: open_clip's name, such as 'ViT-L-14'.
        tag: of its weights, such as 'openai' or 'laion2b_s32b_b82k'.

    Raises:
        ValueError: if open_clip knows no such tag of such a model.
    """
    found = _tag(model, tag)
    quick = found.get("quick_gelu", tag == OPENAI) or tag == OPENAI
    return dict(model=model, **(dict(quick_gelu=True) if quick else {}))


def clip_file(model: str, tag: str, offline: bool = False) -> Path:
    """The weights of one of open_clip's models, fetched by open_clip where they are not here.

    They lie where open_clip keeps them, or in ``HCLIP_HOME`` where that is set; so does a file that was put there.

    Args:
        model: open_clip's name.
        tag: of its weights.
        offline: whether the network must not be used.

    Raises:
        ValueError: if open_clip knows no such tag, or the file cannot be had: which address, and where to put it.
    """
    found = _tag(model, tag)
    cache = home() / "clip" if os.environ.get(HOME) else None
    here = next(_found(found, cache), None)
    if here is not None:
        return here
    url, place = _address(found), (cache or Path("~/.cache/clip").expanduser()) / _file_name(found)
    by_hand = f"Get {url} on a machine with the internet and put it at {place}"
    if offline or is_offline():
        raise InputError(f"CLIP's weights {model} {tag} are not here, and the network is not to be used. {by_hand}")
    with locked(cache or place.parent):
        try:
            return Path(download_pretrained(found, cache_dir=None if cache is None else str(cache)))
        except Exception as error:  # open_clip and what it calls have many
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"CLIP's weights {model} {tag} are not here and cannot be fetched: {reason}. {by_hand}"
            ) from error


def _tag(model: str, tag: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = get_pretrained_cfg(model, tag)
    if not found:
        tags = ", ".join(list_pretrained_tags_by_model(model)) or "none: it has no such model"
        raise InputError(f"open_clip knows no weights '{tag}' of '{model}'; it knows {tags}")
    return found


def _names(tag: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The repository on the Hub, and the names that the file may have in it."""
    repo, _, name = str(tag.get("hf_hub") or "").rpartition("/")
    return repo, (name,) if name else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)


def _address(tag: Mapping[str, Any]) -> str:
    if tag.get("url"):
        return str(tag["url"])
    repo, names = _names(tag)
    return f"https://huggingface.co/{repo}/resolve/main/{names[-1]}"


def _file_name(tag: Mapping[str, Any]) -> str:
    """What the file is called where it was put by hand; open_clip's repositories all call theirs alike."""
    if tag.get("url"):
        return Path(urlsplit(str(tag["url"])).path).name
    repo, names = _names(tag)
    return f"{repo.rpartition('/')[2]}_{names[-1]}"


def _found(tag: Mapping[str, Any], cache: Path | None) -> Iterator[Path]:
    """The file of a tag where it may lie already."""
    placed = (cache or Path("~/.cache/clip").expanduser()) / _file_name(tag)
    if placed.is_file():
        yield placed
    repo, names = _names(tag)
    for name in names if repo else ():
        kept = try_to_load_from_cache(repo, name, cache_dir=cache)
        if isinstance(kept, str):
            yield Path(kept)
