"""What ``hclip-models`` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.near_names import did_you_mean
from hclip_mmseg.zoo.cache import place_of
from hclip_mmseg.zoo.metafiles import ZooModel, read_zoo


def matching(words: Sequence[str]) -> list[ZooModel]:
    """The models whose names, aliases or system hold all of some words; capitals do not matter.

    Raises:
        ValueError: if there is none, with the nearest names.
    """
    zoo = read_zoo()
    found = [model for model in zoo if all(word.lower() in _searched(model) for word in words)]
    if not found:
        names = [name for model in zoo for name in (*model.aliases, model.name)]
        meant = did_you_mean("-".join(words), names, nearness=0.5, most=3) or ";"
        raise InputError(f"no model's name holds {' and '.join(map(repr, words))}{meant} hclip-models alone lists all")
    return found


def _searched(model: ZooModel) -> str:
    return " ".join((model.name, *model.aliases, model.collection)).lower()


def state_of(model: ZooModel) -> str:
    """What a model's weights are, and whether they are on this machine, as the list says it."""
    if model.weights is None:
        return {"training": "to be trained", "embedded": "part of the package", "CLIP alone": "CLIP alone"}[model.needs]
    what = model.part or "published"
    return f"{what}, here" if place_of(model).is_file() else f"{what}, not here"


def as_table(models: Sequence[ZooModel]) -> str:
    """A line for each model: the name to ask for, its system, its weights, and the config."""
    rows = [("name", "system", "weights", "trained on", "config")]
    rows += [
        (model.short_name, model.collection, state_of(model), model.trained_on or "-", model.config) for model in models
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def as_json(models: Sequence[ZooModel]) -> str:
    """All that is known of the models; ``place`` is where the published file lies or would lie, null without one."""
    return json.dumps([{**asdict(model), **_local(model)} for model in models], indent=2)


def _local(model: ZooModel) -> dict[str, object]:
    if model.weights is None:
        return dict(needs=model.needs, place=None, here=None)
    place = place_of(model)
    return dict(needs=model.needs, place=str(place), here=place.is_file())
