"""What ``hclip-download`` does."""

from __future__ import annotations

import re
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
        folder: to write the published files into too, those of networks beside CLIP among them; None: none.
        check: whether to compare published files with their checksums.
        offline: whether the network must not be used.

    Yields:
        A line for each file.

    Raises:
        ValueError: if a name is unknown, weights cannot be had, or a checksum is another than was noted.
    """
    for choice in [choose(name) for name in names]:
        name, model = choice.model.name, choice.model
        tokenizer = choice.fetch_tokenizer(offline)
        if tokenizer is not None:
            yield f"{name}: the tokenizer {tokenizer}, in the Hugging Face Hub's cache"
        for file in _beside_clip(choice, offline):
            yield f"{name}: {_put(file, folder)}"
        published = _published(choice, offline)
        if published is None:
            yield f"{name} needs nothing: its weights are part of the package"
            continue
        if check and model.weights is not None and not verify(published):
            raise InputError(f"{published} has changed since it came: remove it and its .json, and fetch it again")
        yield f"{name}: {_put(published, folder)}"
        if folder is None and model.weights is not None and model.weights.converted:
            yield f"{name}: {checkpoint_of(model, offline)}"


def _put(file: Path, folder: str | Path | None) -> Path:
    """A file, or its copy in a folder if there is one."""
    if folder is None:
        return file
    hub = re.fullmatch("models--.+--(.+)", file.parents[2].name) if len(file.parents) > 2 else None
    copy = Path(folder) / (f"{hub[1]}_{file.name}" if hub else file.name)  # the Hub calls all repositories' files alike
    with whole(copy) as part:
        shutil.copyfile(file, part)
    return copy


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
