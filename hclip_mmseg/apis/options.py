"""Options by name, and what was probably meant by an unknown one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.near_names import did_you_mean


def options_of(function: Callable[..., Any], keyword_only: bool = False) -> tuple[str, ...]:
    """The names that a function's arguments may be given by.

    Args:
        function: whose.
        keyword_only: whether arguments that may also be given by their place are left out.
    """
    kinds = {inspect.Parameter.KEYWORD_ONLY} if keyword_only else {
        inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    }  # fmt: skip
    parameters = inspect.signature(function).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind in kinds and parameter.name != "self")


def check_options(given: Iterable[str], known: Iterable[str], whose: str) -> None:
    """Check the names of options.

    Args:
        given: the names.
        known: the names that there are.
        whose: what the message calls that which has the options.

    Raises:
        ValueError: for one that there is none of: the nearest, and all that there are.
    """
    known = tuple(known)
    for name in given:
        if name not in known:
            there = f"its options are {', '.join(known)}" if known else "it has none"
            raise InputError(f"{whose} has no option '{name}'{did_you_mean(name, known)} ({there})")
