"""Memory of a process: what it keeps, and the most that it held."""

from __future__ import annotations

import ctypes
import re
import resource
import sys
from pathlib import Path

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's mallopt


def keep_freed_memory() -> bool:
    """Lets the process keep the memory that tensors free, for the next tensors.

    glibc gives large blocks back to the system at once and fetches them again zeroed, page by page; with
    tensors of many megabytes in every layer that can cost more than the arithmetic (on a busy virtual machine a
    training step was seen to take 9.9 s without and 1.05 s with this). For scripts, at their start.

    Returns:
        Whether the process's allocator took the settings; False elsewhere than on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def peak_memory(device: str) -> int:
    """The most memory that this process has held, in bytes.

    Args:
        device: 'cpu', or 'cuda' for what torch has allocated there.
    """
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage gives begins, on Linux, with the peak of the process that started this one
        kibibytes = re.search(r"VmHWM:\s*([0-9]+) kB", status.read_text())
        assert kibibytes is not None
        return 1024 * int(kibibytes[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
