"""A model's published weights on this machine: found, or fetched and checked."""

from __future__ import annotations

import re
from pathlib import Path

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.home import is_offline
from hclip_mmseg.zoo.cache import checked, locked, place_of
from hclip_mmseg.zoo.metafiles import ZooModel
from hclip_mmseg.zoo.transfer import UnreachableError, fetch

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def published_file(model: ZooModel, offline: bool = False) -> Path:
    """The published weights of a model, fetched if they are not here yet.

    Args:
        model: that has published weights.
        offline: whether the network must not be used.

    Raises:
        ValueError: if the model has no published weights, they cannot be had, or are no checkpoint: which address,
            and where to put the file.
    """
    place, weights = place_of(model), model.weights
    assert weights is not None
    return brought(model.name, weights.url, place, offline)


def brought(name: str, url: str, place: Path, offline: bool = False) -> Path:
    """A published file of weights at its place, fetched if it is not there yet.

    Args:
        name: of the model that the weights are of, for messages.
        url: where they are published.
        place: where the file lies, or is to lie.
        offline: whether the network must not be used.

    Raises:
        ValueError: if the file cannot be had, or is no checkpoint: which address, and where to put the file.
    """
    if place.is_file():
        _check_found(place, url)
        return place
    missing, by_hand = f"the weights of {name} are not here", _by_hand(url, place)
    if offline or is_offline():
        raise InputError(f"{missing}, and the network is not to be used. {by_hand}")
    with locked(place.parent):
        if not place.is_file():  # another process may have brought it meanwhile
            print(f"{name}: {url} -> {place}")
            try:
                fetch(url, place)
            except UnreachableError as error:
                raise InputError(f"{missing} and cannot be fetched: {error}. {by_hand}") from error
        _check_brought(place, url)
    return place


def _check_found(place: Path, url: str) -> None:
    """Check a file that lies at its place, which somebody may have put there."""
    try:
        checked(place, url)
    except ValueError as error:
        begins = place.open("rb").read(20)
        raise InputError(
            f"{str(error).rstrip('.')}; the file begins with {begins!r}. If it is not the published one: "
            f"{_by_hand(url, place)}"
        ) from error


def _check_brought(place: Path, url: str) -> None:
    """Check what has just come, and take it away again if it is no checkpoint or another than its name says."""
    try:
        record = checked(place, url)
    except ValueError as error:
        begins = place.open("rb").read(40)
        place.unlink()
        raise InputError(
            f"what {url} gave is no checkpoint: {error}; it begins with {begins!r}. {_by_hand(url, place)}"
        ) from error
    stated = HASH_IN_NAME.search(url)
    if stated and not record.sha256.startswith(stated[1]):
        place.unlink()
        raise InputError(f"what {url} gave has the checksum {record.sha256[:16]}..., not that in its name")


def _by_hand(url: str, place: Path) -> str:
    return f"Get {url} on a machine with the internet and put it at {place}"
