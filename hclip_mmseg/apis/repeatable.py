"""Runs that give the same numbers bit for bit when they are repeated: configs with ``randomness.deterministic=True``.

MMEngine turns torch's deterministic algorithms on for them. On a CPU all is deterministic anyway.
"""

from __future__ import annotations

import os
import re

from mmengine.config import Config


def make_repeatable(cfg: Config) -> None:
    """Set up cuBLAS for a run whose config asks for this; torch refuses its products on a GPU otherwise.

    Both read the setting when the first of them runs, so this comes before any model is built. What the environment
    already says stays.
    """
    if (cfg.get("randomness") or {}).get("deterministic"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def refusal(error: Exception) -> str:
    """What to do about an operator that torch refuses to run since it is not deterministic; '' for other errors."""
    found = re.match(r"(\w+) does not have a deterministic implementation", str(error))
    if found is None:
        return ""
    return (
        f"randomness.deterministic=True: torch's {found[1]} has no deterministic form on a GPU; without the setting a "
        "repeated run is the same up to rounding"
    )
