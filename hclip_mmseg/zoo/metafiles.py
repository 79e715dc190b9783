"""The models that have names, as ``model-index.yml`` and the metafiles beside the configs say (OpenMMLab's format)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.near_names import did_you_mean
from hclip_mmseg.files.paths import configs_folder

EMBEDDED = "embedded"
"""Value of ``Pretrained`` for models on the tiny CLIP that is part of the package."""


@dataclass(frozen=True)
class Weights:
    """A published file of weights.

    Attributes:
        url: where its authors publish it.
        file: what it is called here.
        code: where the code of its authors is.
        licence: of that code.
        converted: whether it is in the form of its authors' code, and so has to be converted.
    """

    url: str
    file: str
    code: str
    licence: str
    converted: bool


@dataclass(frozen=True)
class Result:
    """Figures that a paper prints for a model on one benchmark.

    Attributes:
        task: such as 'Semantic Segmentation'.
        dataset: the benchmark's name.
        metrics: name -> percent.
    """

    task: str
    dataset: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class ZooModel:
    """A model that can be asked for by name.

    Attributes:
        name: as in the metafile: the config's own.
        aliases: shorter names.
        collection: the system that it belongs to.
        paper: address of the system's paper.
        config: path of the config, 'configs/...'.
        trained_on: data that its weights, published or not, are trained on; None: nothing is trained.
        pretrained: open_clip's tag of the CLIP in a model without training, or 'embedded'; None for others.
        part: what the weights are where they are no whole model, such as 'generator'; else None.
        architecture: its parts, CLIP first.
        parameters: how many numbers it holds; None: not counted.
        results: the papers' figures; none was measured here.
        weights: the published file; None: there is none.
    """

    name: str
    aliases: tuple[str, ...]
    collection: str
    paper: str
    config: str
    trained_on: str | None
    pretrained: str | None
    part: str | None
    architecture: tuple[str, ...]
    parameters: int | None
    results: tuple[Result, ...]
    weights: Weights | None

    @property
    def short_name(self) -> str:
        """The first alias, else the name."""
        return self.aliases[0] if self.aliases else self.name

    @property
    def needs(self) -> str:
        """Where the weights come from, in a word or two: 'published', 'CLIP alone', 'embedded' or 'training'."""
        if self.weights is not None:
            return "published"
        if self.pretrained == EMBEDDED:
            return EMBEDDED
        return "CLIP alone" if self.trained_on is None else "training"


def read_zoo(index: Path | None = None) -> tuple[ZooModel, ...]:
    """All models of an index.

    Args:
        index: a ``model-index.yml``; None: this project's.

    Raises:
        ValueError: if two models have one name.
    """
    index = index or configs_folder().parent / "model-index.yml"
    models: list[ZooModel] = []
    for path in _read(index)["Import"]:
        content = _read(index.parent / path)
        collections = {entry["Name"]: entry for entry in content["Collections"]}
        models += [_model(entry, collections[entry["In Collection"]]) for entry in content["Models"]]
    known: set[str] = set()
    for name in (name for model in models for name in (model.name, *model.aliases)):
        if name in known:
            raise ValueError(f"{index} has two models of the name '{name}'")
        known.add(name)
    return tuple(models)


def find_model(name: str, models: Iterable[ZooModel] | None = None) -> ZooModel:
    """The model of a name or alias.

    Args:
        name: as ``hclip-models`` lists it; capitals do not matter.
        models: to look in; None: this project's.

    Raises:
        ValueError: if there is none, with the nearest names.
    """
    named = {known: model for model in models or read_zoo() for known in (*model.aliases, model.name)}
    found = {known.lower(): model for known, model in named.items()}.get(name.lower())
    if found is None:
        meant = did_you_mean(name, named, nearness=0.5, most=3) or ";"
        raise InputError(f"no model is called '{name}'{meant} hclip-models lists all")
    return found


def _read(path: Path) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML was built with it: ten times faster
    return yaml.load(path.read_text(encoding="utf-8"), loader)


def _model(entry: Mapping[str, Any], collection: Mapping[str, Any]) -> ZooModel:
    metadata = entry.get("Metadata", {})
    return ZooModel(
        name=entry["Name"],
        aliases=tuple(entry.get("Alias", ())),
        collection=collection["Name"],
        paper=collection["Paper"]["URL"],
        config=entry["Config"],
        trained_on=metadata.get("Training Data"),
        pretrained=metadata.get("Pretrained"),
        part=metadata.get("Part"),
        architecture=tuple(metadata.get("Architecture", ())),
        parameters=metadata.get("Parameters"),
        results=tuple(
            Result(result["Task"], result["Dataset"], dict(result["Metrics"])) for result in entry.get("Results", ())
        ),
        weights=_weights(entry),
    )


def _weights(entry: Mapping[str, Any]) -> Weights | None:
    url = entry.get("Weights")
    if url is None:
        return None
    return Weights(
        url=url,
        file=entry.get("File") or Path(urlsplit(url).path).name,
        code=entry["Code"],
        licence=entry["License"],
        converted="Converted From" in entry,
    )
