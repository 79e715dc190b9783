"""Checkpoints: finding the file, reading it, and comparing it with a model."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor, nn

from hclip_mmseg.compat.checkpoints import message_hub_globals
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.paths import check_path, locate, looked_in
from hclip_mmseg.files.state_dicts import check_state_dict, compare, find_state_dict, first, without_shared_prefix
from hclip_mmseg.files.tensors import read_tensors


def load(file: str | Path | BinaryIO, map_location: Any = "cpu") -> Any:
    """The content of a checkpoint in any form: MMEngine's and others' of torch, safetensors, CLIP's own archives.

    Every reading of a checkpoint in this project and, once `hclip_mmseg` is imported, in MMEngine comes here.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, refers to anything but data, or its weights are no finite numbers under names.
    """
    source = "the checkpoint" if hasattr(file, "read") else file
    content = read_tensors(file, source, message_hub_globals(), map_location)
    check_state_dict(find_state_dict(content), source)
    return content


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint file that a path means.

    Raises:
        FileNotFoundError: if there is none, with the places where it was looked for.
        ValueError: if it is no complete checkpoint.
    """
    check_path(path, "give a checkpoint")
    found = locate(path)
    if found is None or not found.is_file():
        raise FileNotFoundError(
            f"no checkpoint {Path(path).name}: looked for at {looked_in(path)}. "
            "Training writes checkpoints into its --work-dir"
        )
    if not zipfile.is_zipfile(found):  # torch has written zip archives since 1.6; a cut one has no directory
        read_tensors(found)
    return found


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint of MMEngine, or a bare state dict.

    Raises:
        FileNotFoundError, ValueError: as `find_checkpoint` and `load`, or if there are no tensors in it.
    """
    found = find_checkpoint(path)
    return state_dict_of(load(found), found)


def state_dict_of(content: Any, source: str | Path) -> dict[str, Tensor]:
    """The model's tensors in the content of a checkpoint; ``source`` is what errors call it.

    Raises:
        ValueError: if there are none.
    """
    state = find_state_dict(content, ("state_dict",))
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{source} holds no model: it must have a 'state_dict' of tensors")
    return without_shared_prefix(state, source)


def check_fits(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that a state dict is this model's, name for name and shape for shape.

    Raises:
        ValueError: saying what lacks, what is left over and what has another shape.
    """
    differences = compare(model.state_dict(), state)
    if not differences:
        return
    hint = ""
    if differences.reshaped:
        hint = "; is it of another CLIP?"
    elif any(".adapter." in name for name in differences.lacking):
        hint = "; where it lacks the adapters, folded or never there, set model.backbone.adapter=None"
    raise InputError(f"the checkpoint {source} does not fit the model: {differences}{hint}")


def check_start(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that training can start from a state dict, which may lack parts, such as adapters, and have others.

    Raises:
        ValueError: if tensors of the same name have other shapes, or no name is the model's.
    """
    own = model.state_dict()
    common = {name: tensor for name, tensor in state.items() if name in own}
    if not common:
        raise InputError(
            f"load_from {source} has none of the model's tensors (it has {first(list(state))}; the model has "
            f"{first(list(own))})"
        )
    differences = compare({name: own[name] for name in common}, common)
    if differences:
        raise InputError(f"load_from {source}: {differences}; is it of another CLIP?")


def check_resumable(content: Mapping[str, Any], source: str | Path) -> None:
    """Check that a checkpoint says where its training stood.

    Args:
        content: as `load` gives it.
        source: where it comes from, for the message.

    Raises:
        ValueError: if it holds a model alone.
    """
    lacks = [key for key in ("meta", "message_hub", "optimizer") if key not in content]
    if lacks:
        raise InputError(
            f"training cannot be resumed from {source}: it lacks {', '.join(lacks)}; to start from its weights set "
            f"--cfg-options load_from={source}"
        )


def generator_files(init_cfg: Any) -> list[dict[str, Any]]:
    """Those of a mask generator's settings of its start that name a checkpoint's file, and no place in the network."""
    starts = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    return [dict(start) for start in starts if "://" not in (start.get("checkpoint") or "://")]


def no_generator(path: str) -> str:
    """What is said where a mask generator's checkpoint is not there."""
    return (
        f"the proposals' checkpoint {Path(path).name} is not there: looked for at {looked_in(path)}. MMDetection's "
        "model zoo has Mask2Former for COCO panoptic, configs/fisa/proposals_tiny_scenes.py trains that of the scenes; "
        "model.generator.init_cfg=None starts from random weights"
    )
