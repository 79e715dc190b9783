"""State dicts: found in a checkpoint, checked, and compared with a model's."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PLACES = ("state_dict", "model")  # of MMEngine and open_clip, and of Detectron2
PREFIXES = ("module.", "_orig_mod.", "model.", "ema_model.", "ema.")  # of wrappers round the whole model


def find_state_dict(content: Any, places: Sequence[str] = PLACES) -> Mapping[Any, Any]:
    """The state dict in a checkpoint's content; the content itself where none of the places holds one."""
    if not isinstance(content, Mapping):
        return {}
    return next((content[place] for place in places if isinstance(content.get(place), Mapping)), content)


def check_state_dict(state: Mapping[Any, Any], source: str | Path) -> None:
    """Check that names are strings and tensors hold finite numbers.

    See `not_finite` for attention masks, which may hold -inf.

    Raises:
        ValueError: naming the first entry that is none of a model's.
    """
    for name, value in state.items():
        if not isinstance(value, Tensor):
            continue
        if not isinstance(name, str):
            raise ValueError(f"{source} is no checkpoint of a model: one of its tensors is called {name!r}, no string")
        if value.is_meta or value.layout != torch.strided or value.is_quantized:
            raise ValueError(f"{source}: {name} is no plain tensor, but {value.layout} on {value.device}")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"{source}: {name} of shape {list(value.shape)} has more numbers than the file")
        wrong = not_finite(name, value)
        if wrong is not None:
            raise ValueError(f"{source}: {name} holds {wrong}: a run that went wrong; take an earlier checkpoint")


def not_finite(name: str, tensor: Tensor) -> float | None:
    """NaN, inf or -inf if a tensor holds such, NaN before the others; else None.

    Args:
        name: of the tensor; one that ends in 'mask' may hold -inf.
        tensor: of any shape and kind.
    """
    if tensor.numel() == 0 or not (tensor.is_floating_point() or tensor.is_complex()):
        return None
    numbers = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    if numbers.element_size() < 2:  # torch has no order of float8
        numbers = numbers.float()
    low, high = (bound.item() for bound in torch.aminmax(numbers))  # both NaN where there is any
    if low != low or high == torch.inf:
        return high
    return low if low == -torch.inf and not name.endswith("mask") else None


def without_shared_prefix(state: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """A state dict without the prefixes of wrappers that all its names have; says which were dropped."""
    dropped = ""
    while prefix := next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in state)), None):
        if not state:
            break
        state, dropped = {name.removeprefix(prefix): value for name, value in state.items()}, dropped + prefix
    if dropped:
        logging.getLogger(__name__).warning("%s: all names begin with '%s', which is dropped", source, dropped)
    return dict(state)


@dataclass(frozen=True)
class Differences:
    """In what a state dict differs from a model's; false where it does not.

    Attributes:
        lacking: names that the model has alone.
        extra: names that the state dict has alone.
        reshaped: names of other shapes -> (shape in the state dict, shape in the model).
    """

    lacking: tuple[str, ...]
    extra: tuple[str, ...]
    reshaped: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def __bool__(self) -> bool:
        return bool(self.lacking or self.extra or self.reshaped)

    def __str__(self) -> str:
        """All differences in one sentence, with the first names of each kind."""
        parts = []
        if self.reshaped:
            shapes = [f"{name} is {list(got)} there and {list(own)} in the model"
                      for name, (got, own) in self.reshaped.items()]  # fmt: skip
            parts.append(f"{len(shapes)} tensors have another shape ({first(shapes)})")
        if self.lacking:
            parts.append(f"it lacks {len(self.lacking)} tensors ({first(self.lacking)})")
        if self.extra:
            parts.append(f"it has {len(self.extra)} tensors that the model does not ({first(self.extra)})")
        return "; ".join(parts)


def compare(model: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Differences:
    """The differences between a model's state dict and another, by names and shapes."""
    return Differences(
        lacking=tuple(name for name in model if name not in state),
        extra=tuple(name for name in state if name not in model),
        reshaped={
            name: (tuple(state[name].shape), tuple(tensor.shape))
            for name, tensor in model.items()
            if name in state and state[name].shape != tensor.shape
        },
    )


def first(items: Sequence[str], count: int = 2) -> str:
    """The first items as a message lists them."""
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")
