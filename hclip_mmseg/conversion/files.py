"""Converting and folding checkpoints from file to file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from hclip_mmseg.conversion.folding import clip_state_dict, folded_state_dict
from hclip_mmseg.conversion.published import recognise, to_ours, to_published
from hclip_mmseg.files import checkpoints
from hclip_mmseg.files.checksums import sha256_of
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.writing import write_tensors
from hclip_mmseg.vocabularies import load_vocabulary

PUBLISHED_META = ("dataset_meta", "published", "folded", "hclip_version")
"""What of a checkpoint's ``meta`` goes with its weights: no paths, no seeds, no history."""


def convert_checkpoint(source: str | Path, target: str | Path, to: str = "ours") -> str:
    """Convert a checkpoint between a published form and this project's.

    Args:
        source: the file to read: a published checkpoint or CLIP's own weights, or one of this project.
        target: the file to write.
        to: the form to convert to, 'ours' or 'published'.

    Returns:
        A line that says what was converted.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is no checkpoint of a known form.
    """
    source, target = Path(source), Path(target)
    checkpoint = checkpoints.load(checkpoints.find_checkpoint(source))
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{source} holds no state dict")
    if to == "ours":
        try:
            converted = to_ours(checkpoint)
        except ValueError as error:
            raise InputError(f"{source}: {error}") from error
        published = converted["meta"]["published"]
        kind = published["kind"]
        if published["vocabulary"] is not None:
            converted["meta"]["dataset_meta"] = _dataset_meta(published["vocabulary"])
        count = len(converted["state_dict"])
    else:
        if not isinstance(checkpoint.get("state_dict"), dict):
            raise ValueError(f"{source} holds no 'state_dict', so it is no checkpoint of this project")
        converted = to_published(checkpoint)
        count = len(converted.get("model", converted))
        kind = recognise(converted.get("model", converted))
    write_tensors(target, converted)
    return f"{source} ({kind}) -> {target}: {count} tensors, {target.stat().st_size / 2**20:.0f} MiB"


def write_folded(model: nn.Module, target: str | Path, clip: str | Path | None = None) -> list[str]:
    """Write a model with its adapters folded into CLIP's weights.

    Args:
        model: trained.
        target: checkpoint to write, for the same config with ``model.backbone.adapter=None``.
        clip: file for the folded CLIP alone, in open_clip's names; None: not written.

    Returns:
        A line for each file written.

    Raises:
        ValueError: if the adapters cannot be folded.
    """
    state = folded_state_dict(model)
    write_tensors(target, {"meta": {"folded": True}, "state_dict": state})
    written = [f"{target}: folded CLIP and head; use it with --cfg-options model.backbone.adapter=None"]
    if clip:
        write_tensors(clip, clip_state_dict(state))
        written.append(f"{clip}: the folded CLIP in open_clip's names")
    return written


def publish_checkpoint(source: str | Path, target: str | Path) -> Path:
    """Write a checkpoint as OpenMMLab publishes them: weights alone, and the file's hash in its name.

    Args:
        source: a checkpoint of training.
        target: file to write; ``-<first 8 digits of the SHA-256>`` comes before its suffix.

    Returns:
        The file that was written.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it holds no model.
    """
    source, target = checkpoints.find_checkpoint(source), Path(target)
    content = checkpoints.load(source)
    state = checkpoints.state_dict_of(content, source)
    meta = {key: value for key, value in (content.get("meta") or {}).items() if key in PUBLISHED_META}
    write_tensors(target, dict(meta=meta, state_dict={name: value.cpu().clone() for name, value in state.items()}))
    return target.rename(target.with_name(f"{target.stem}-{sha256_of(target)[:8]}{target.suffix or '.pth'}"))


def _dataset_meta(vocabulary: str) -> dict[str, Any]:
    """The benchmark's class names, and what the model was asked for where a method has its own list."""
    benchmark, _, style = vocabulary.partition("@")
    meta: dict[str, Any] = dict(classes=load_vocabulary(benchmark).names)
    if style:
        meta["vocabulary"] = load_vocabulary(vocabulary).titles
    return meta
