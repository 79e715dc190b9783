"""Scores and weights as people give them."""

from __future__ import annotations

from hclip_mmseg.files.errors import InputError


def check_score(value: object, what: str) -> float:
    """A score or weight in 0..1.

    Raises:
        ValueError: if it is none; ``what`` says which.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise InputError(f"{what} is a number from 0 to 1, not {value!r}")
    return number
