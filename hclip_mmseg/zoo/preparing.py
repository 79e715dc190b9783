"""What ``hclip-download`` does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.paths import locate
from hclip_mmseg.files.writing import whole
from hclip_mmseg.zoo.beside_clip import lacking, weights_of
from hclip_mmseg.zoo.cache import verify
from hclip_mmseg.zoo.choice import Choice, choose
from hclip_mmseg.zoo.clip_weights import clip_file
from hclip_mmseg.zoo.converted import checkpoint_of
from hclip_mmseg.zoo.download import published_file
from hclip_mmseg.zoo.metafiles import EMBEDDED


def prepare(
    names: Sequence[str], folder: str | Path | None = None, *, check: bool = False, offline: bool = False
) -> Iterator[str]:
    """Bring models' weights onto this machine.

    Args:
        names: of models; all are looked up before the first is fetched.
        folder: to write the published files into too; None: none.
        check: whether to compare published files with their checksums.
        offline: whether the network must not be used.

    Yields:
        A line for each file.

    Raises:
        ValueError: if a name is unknown, weights cannot be had, or a checksum is another than was noted.
    """
    for choice in [choose(name) for name in names]:
        for other in _beside_clip(choice, offline):
            yield f"{choice.model.name}: {other}"
        file = _published(choice, offline)
        if file is None:
            yield f"{choice.model.name} needs nothing: its weights are part of the package"
            continue
        if check and choice.model.weights is not None and not verify(file):
            raise InputError(f"{file} has changed since it came: remove it and its .json, and fetch it again")
        if folder is not None:
            with whole(Path(folder) / file.name) as part:
                shutil.copyfile(file, part)
            yield f"{choice.model.name}: {Path(folder) / file.name}"
            continue
        yield f"{choice.model.name}: {file}"
        if choice.model.weights is not None and choice.model.weights.converted:
            yield f"{choice.model.name}: {checkpoint_of(choice.model, offline)}"


def _beside_clip(choice: Choice, offline: bool) -> Iterator[Path]:
    """Weights of the networks beside CLIP in a model without training, but for those that its config has a file of."""
    found = locate(choice.config) if choice.model.needs == "CLIP alone" else None
    files: dict[Path, None] = {}  # a file that two parts share is told once
    for entry in lacking(Config.fromfile(found).model if found else {}, by_name=True):
        files[weights_of(entry, offline)] = None
    yield from files


def _published(choice: Choice, offline: bool) -> Path | None:
    """The file that a choice is made of; None for the embedded models."""
    model = choice.model
    if choice.clip is not None:
        return clip_file(*choice.clip, offline)
    if model.pretrained == EMBEDDED:
        return None
    if model.weights is None and model.pretrained is not None:
        return clip_file(_openai_model(model.architecture), model.pretrained, offline)
    return published_file(model, offline)


def _openai_model(architecture: Sequence[str]) -> str:
    """open_clip's name of the CLIP in a model, whose parts begin with it: 'CLIP ViT-B-16'."""
    return architecture[0].removeprefix("CLIP ")
