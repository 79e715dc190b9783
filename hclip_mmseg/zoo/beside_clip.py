"""Weights of the networks beside CLIP in a model's config: DINO by timm's name, SAM by its file's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hclip_mmseg.files.paths import locate
from hclip_mmseg.training_free.segment_anything import check_package
from hclip_mmseg.zoo.sam_weights import is_sam_file, sam_file
from hclip_mmseg.zoo.timm_weights import timm_file

SAM = ("SAMAggregation", "SAMPrompts")
"""Types of the entries of a config that name a file of SAM's weights."""
KINDS: Mapping[str, Callable[[Mapping[str, Any], bool], Path]] = {
    "TimmPatchFeatures": lambda entry, offline: timm_file(entry["model"], offline),
    **dict.fromkeys(SAM, lambda entry, offline: sam_file(Path(entry["weights"]).name, offline)),
}
"""Type of an entry of a config -> what gives the file of its weights, without the network if that is asked for."""


def entries(config: Any) -> Iterator[dict[str, Any]]:
    """The entries of a model's config that name a network beside CLIP."""
    if isinstance(config, dict) and config.get("type") in KINDS:
        yield config
    parts = config.values() if isinstance(config, dict) else config if isinstance(config, list | tuple) else ()
    for part in parts:
        yield from entries(part)


def lacking(config: Any, by_name: bool) -> Iterator[dict[str, Any]]:
    """The entries whose weights are to be fetched.

    Args:
        config: of the model.
        by_name: whether the model was asked for by its name, so that a file that is not there is fetched too; else
            only entries without ``weights`` are meant. A file of SAM's is fetched if it is called as a published one.
    """
    for entry in entries(config):
        given = entry.get("weights")
        fetched = entry["type"] not in SAM if given is None else by_name and locate(given) is None
        if fetched and (entry["type"] not in SAM or is_sam_file(given)):
            yield entry


def weights_of(entry: Mapping[str, Any], offline: bool = False) -> Path:
    """The published weights of an entry, fetched where they are not here.

    Args:
        entry: one of :func:`lacking`.
        offline: whether the network must not be used.

    Raises:
        ValueError: if they cannot be had: which address, and where to put the file.
    """
    return KINDS[entry["type"]](entry, offline)


def fill_weights(config: Any, by_name: bool, offline: bool = False) -> None:
    """Write into a model's config the published weights of the networks beside CLIP; see :func:`lacking`.

    Args:
        config: of the model; changed in place.
        by_name: see :func:`lacking`.
        offline: whether the network must not be used.

    Raises:
        ValueError: as :func:`weights_of`, or if a package is missing that SAM needs.
    """
    missing = list(lacking(config, by_name))
    if any(entry["type"] in SAM for entry in missing):
        check_package()  # before anything is fetched
    for entry in missing:
        entry["weights"] = str(weights_of(entry, offline))
