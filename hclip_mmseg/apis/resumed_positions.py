"""Whether a training that goes on trains positional embeddings, whatever its config says today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import Tensor

POSITIONS = tuple(f"backbone.{tower}_tower.positional_embedding" for tower in ("image", "text"))


def trained_positions(content: Mapping[str, Any]) -> bool:
    """Whether the optimizer of a checkpoint holds both towers' positional embeddings.

    Its states have no names, but follow the model's order, in which both towers come first; of these nothing else is
    trained.

    Args:
        content: of a checkpoint of a training.
    """
    weights, optimizer = content["state_dict"], content["optimizer"]
    if not all(name in weights for name in POSITIONS):
        return False
    order = [entry for group in optimizer["param_groups"] for entry in group["params"]]
    if any(isinstance(entry, str) for entry in order):  # of sharded models they have names
        return all(name in order for name in POSITIONS)
    states = [optimizer["state"][entry] for entry in order if entry in optimizer["state"]][: len(POSITIONS)]
    shapes = [{value.shape for value in state.values() if isinstance(value, Tensor) and value.ndim} for state in states]
    return shapes == [{weights[name].shape} for name in POSITIONS]


def follow_checkpoint(cfg: Config, content: Mapping[str, Any]) -> None:
    """Let a training that goes on train positional embeddings as it did before; says so where the config differs.

    Trainings of before they were frozen by default have states of theirs, and MMEngine takes no others.

    Args:
        cfg: of the run; changed in place.
        content: of the checkpoint that it goes on from.
    """
    backbone = (cfg.get("model") or {}).get("backbone") or {}
    if str(backbone.get("type")).removeprefix("mmseg.") != "HCLIPBackbone":
        return
    trained = trained_positions(content)
    if trained != bool(backbone.get("train_positions", False)):
        backbone["train_positions"] = trained
        print(f"the training that goes on {'trains' if trained else 'freezes'} positional embeddings, so it does still")
