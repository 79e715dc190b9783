"""How much of a device's memory one part of a pass may take."""

from __future__ import annotations

from typing import Literal

import torch

from hclip_mmseg.adapters.precision import autocast_dtype

Auto = Literal["auto"]
FIXED_SHARE = 0.5
"""Part of a GPU's memory that counts as free under deterministic algorithms."""


def allowance(device: torch.device, share: float) -> int | None:
    """Bytes that a part of a pass may take on a GPU; None elsewhere.

    They are a share of what is free now: free on the device, or held by torch without a tensor in it. Under torch's
    deterministic algorithms they are a share of a fixed part of the device's memory instead, so that a run that is
    repeated beside other work is cut into the same chunks and gives the same numbers bit for bit.

    Args:
        device: where the pass runs.
        share: in (0, 1].
    """
    if not has_memory_of_its_own(device):
        return None
    return int(share * free_memory(device, fixed=torch.are_deterministic_algorithms_enabled()))


def has_memory_of_its_own(device: torch.device) -> bool:
    """Whether a device is a GPU that torch can ask for its memory."""
    return device.type == "cuda"


def free_memory(device: torch.device, fixed: bool = False) -> float:
    """Bytes of a GPU that tensors of this process can still take, a limit that torch was given taken into account.

    Args:
        device: the GPU.
        fixed: whether to take ``FIXED_SHARE`` of all its memory, whatever is in use.
    """
    if fixed:
        return FIXED_SHARE * torch.cuda.get_device_properties(device).total_memory
    free, total = torch.cuda.mem_get_info(device)
    reserved = torch.cuda.memory_reserved(device)
    limit = getattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 1.0)(device)  # torch 2.7 has it
    return max(min(free, limit * total - reserved), 0) + reserved - torch.cuda.memory_allocated(device)


def bytes_of_number(device: torch.device, dtype: torch.dtype) -> int:
    """Bytes of a number that layers compute: autocast's where it is on, else those of ``dtype``."""
    return (autocast_dtype(device) or dtype).itemsize
