"""Checkpoints: finding the file, reading it, and comparing it with a model."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from hclip_mmseg.files.paths import locate, looked_in


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint file that a path means.

    Raises:
        FileNotFoundError: if there is none, with the places where it was looked for.
        ValueError: if it is no complete checkpoint.
    """
    found = locate(path)
    if found is None or not found.is_file():
        raise FileNotFoundError(
            f"no checkpoint {Path(path).name}: looked for at {looked_in(path)}. "
            "Training writes checkpoints into its --work-dir"
        )
    if not zipfile.is_zipfile(found):  # torch has written zip archives since 1.6; a cut one has no directory
        try:
            torch.load(found, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 (what is no pickle fails in any way)
            size = found.stat().st_size
            raise ValueError(f"{found} ({size:,} bytes) is no checkpoint, or a truncated one") from error
    return found


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint of MMEngine, or a bare state dict.

    Raises:
        FileNotFoundError, ValueError: as `find_checkpoint`, or if there are no tensors in it.
    """
    found = find_checkpoint(path)
    try:
        loaded = CheckpointLoader.load_checkpoint(str(found), map_location="cpu", logger="silent")
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{found} cannot be read as a checkpoint: {error}") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{found} holds no model: it must have a 'state_dict' of tensors")
    return {name.removeprefix("module."): value for name, value in state.items()}


def check_fits(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that a state dict is this model's, name for name and shape for shape.

    Raises:
        ValueError: saying what lacks, what is left over and what has another shape.
    """
    expected = model.state_dict()
    wrong = [
        f"{name} is {list(state[name].shape)} there and {list(tensor.shape)} in the model"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    lacks = [name for name in expected if name not in state]
    extra = [name for name in state if name not in expected]
    problems = []
    if wrong:
        problems.append(f"{len(wrong)} tensors have another shape ({_first(wrong)}): is it of another CLIP?")
    adapters = [name for name in lacks if ".adapter." in name]
    if adapters:
        which = _first(adapters)
        problems.append(f"it lacks the adapters ({which}); for plain CLIP set model.backbone.adapter=None")
    others = [name for name in lacks if name not in adapters]
    if others:
        problems.append(f"it lacks {len(others)} other tensors ({_first(others)})")
    if extra:
        problems.append(f"it has {len(extra)} tensors that the model does not ({_first(extra)})")
    if problems:
        raise ValueError(f"the checkpoint {source} does not fit the model: {'; '.join(problems)}")


def check_start(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that training can start from a state dict, which may lack parts, such as adapters, and have others.

    Raises:
        ValueError: if tensors of the same name have other shapes, or no name is the model's.
    """
    expected = model.state_dict()
    common = [name for name in expected if name in state]
    wrong = [
        f"{name} is {list(state[name].shape)} there and {list(expected[name].shape)} in the model"
        for name in common
        if state[name].shape != expected[name].shape
    ]
    if not common:
        raise ValueError(
            f"load_from {source} has none of the model's tensors (it has {_first(list(state))}; the model has "
            f"{_first(list(expected))})"
        )
    if wrong:
        raise ValueError(
            f"load_from {source}: {len(wrong)} tensors have another shape ({_first(wrong)}): is it of another CLIP?"
        )


def check_resumable(path: str | Path) -> None:
    """Check that a checkpoint says where its training stood.

    Raises:
        FileNotFoundError, ValueError: as `find_checkpoint`, or if it holds a model alone.
    """
    found = find_checkpoint(path)
    loaded = CheckpointLoader.load_checkpoint(str(found), map_location="cpu", logger="silent")
    lacks = [key for key in ("meta", "message_hub", "optimizer") if key not in loaded]
    if lacks:
        raise ValueError(
            f"training cannot be resumed from {found}: it lacks {', '.join(lacks)}; to start from its weights set "
            f"--cfg-options load_from={path}"
        )


def generator_files(init_cfg: Any) -> list[dict[str, Any]]:
    """Those of a mask generator's settings of its start that name a checkpoint's file, and no place in the network."""
    settings = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    return [one for one in settings if "://" not in (one.get("checkpoint") or "://")]


def no_generator(path: str) -> str:
    """What is said where a mask generator's checkpoint is not there."""
    return (
        f"the proposals' checkpoint {Path(path).name} is not there: looked for at {looked_in(path)}. MMDetection's "
        "model zoo has Mask2Former for COCO panoptic, configs/fisa/proposals_tiny_scenes.py trains that of the scenes; "
        "model.generator.init_cfg=None starts from random weights"
    )


def _first(items: Sequence[str], count: int = 2) -> str:
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")
