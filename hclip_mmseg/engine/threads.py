"""How many cores a process may use, a container's share included, and threads to match."""

from __future__ import annotations

import os
from pathlib import Path

import torch

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
SET_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def processor_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> float | None:
    """How many cores' time Linux's control groups let this process use; None where they set no limit.

    A container's limit (``docker run --cpus 2``, Kubernetes) is such a quota: it sees all cores of the host, and as
    many threads would stand still for most of each period. Both versions of control groups are read; of nested groups
    the tightest counts.

    Args:
        cgroups: where the system shows them.
        own: the file that says which of them this process is in.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = cgroups / controllers if controllers else cgroups
        group = top / place.lstrip("/")
        for folder in (group, *group.parents):
            quotas += _quota_of(folder)
            if folder == top:
                break
    return min(quotas, default=None)


def _quota_of(folder: Path) -> list[float]:
    """The quota that one control group sets, in cores; empty for none."""
    try:
        if (folder / "cpu.max").is_file():
            time, period = (folder / "cpu.max").read_text().split()
        else:
            time, period = ((folder / f"cpu.cfs_{part}_us").read_text().strip() for part in ("quota", "period"))
        return [float(time) / float(period)] if time != "max" and float(time) > 0 else []
    except (OSError, ValueError, ZeroDivisionError):
        return []


def core_count(quota: float | None) -> int:
    """How many cores this process may keep busy: those that it may run on, within a quota, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if quota is None else max(min(cores, int(quota)), 1)


def fit_threads() -> int:
    """Let torch take no more threads than its container's quota has cores, unless the environment says how many.

    Returns:
        The number of threads.
    """
    if not any(os.environ.get(name) for name in SET_BY_USER):
        torch.set_num_threads(min(torch.get_num_threads(), core_count(processor_quota())))
    return torch.get_num_threads()
