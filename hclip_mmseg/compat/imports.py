"""Importing OpenMMLab's packages without what they print on the way."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

NOISE = "Could not import OneDL"
"""What MMSegmentation, MMDetection and mmpretrain print where an optional dataset format is absent."""


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Pass on to stdout all that is printed in the block, at its end, but `NOISE`; OpenMMLab's warnings are dropped."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module=r"mm(cv|engine|seg|det|pretrain)\b")
            yield
    finally:
        sys.stdout.writelines(line for line in printed.getvalue().splitlines(True) if not line.startswith(NOISE))


def import_quietly(module: str) -> None:
    """Import a module of OpenMMLab's without what it prints on the way; see `quiet_imports`."""
    with quiet_imports():
        importlib.import_module(module)
