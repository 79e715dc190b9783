"""The one place that knows that mmpretrain's language models stand on an old transformers.

mmpretrain imports its language and multimodal models wherever transformers is installed, and they take names from it
that transformers 5 has no more. MMDetection imports mmpretrain, and LoRA's layer is in it; neither needs those models.
mmpretrain can do without them, where transformers is absent: `ensure_mmpretrain` lets it do so where transformers is
there and of no use to it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PACKAGE = "transformers"
TAKEN = {
    "transformers.pytorch_utils": ("apply_chunking_to_forward", "find_pruneable_heads_and_indices"),
    "transformers.modeling_utils": ("GenerationConfig", "PretrainedConfig", "PreTrainedModel"),
    "transformers.models.bert.configuration_bert": ("BertConfig",),
}
"""What mmpretrain's models take from transformers, of its modules that have changed; the quickest to import first."""


def ensure_mmpretrain() -> bool:
    """Make `mmpretrain` importable beside any transformers; do nothing where that is absent or fits.

    Safe to call more than once. It has to be called before `mmpretrain` or `mmdet.models` is imported.

    Returns:
        True if mmpretrain was imported without its language models, False if that was not needed.
    """
    if "mmpretrain" in sys.modules or importlib.util.find_spec("mmpretrain") is None or not _installed(PACKAGE):
        return False
    if _has_what_is_taken():
        return False
    with _hidden(PACKAGE):
        importlib.import_module("mmpretrain.models")
    return True


def _installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _has_what_is_taken() -> bool:
    try:
        return all(hasattr(importlib.import_module(module), name) for module, names in TAKEN.items() for name in names)
    except Exception:  # noqa: BLE001 (a package that does not fit its own dependencies fails in any way)
        return False


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Modules that are imported meanwhile find no distribution of that name."""
    find = importlib.metadata.distribution

    def find_others(distribution_name: str) -> importlib.metadata.Distribution:
        if distribution_name == package:
            raise importlib.metadata.PackageNotFoundError(distribution_name)
        return find(distribution_name)

    importlib.metadata.distribution = find_others
    try:
        yield
    finally:
        importlib.metadata.distribution = find
