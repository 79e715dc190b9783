"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import os
import threading
import time

PARENT = "HCLIP_PARENT_PROCESS"
PATIENCE = 0.5
"""Seconds after which a process looks whether its parent is still there."""


def end_with_parent() -> None:
    """End this process soon after its parent has ended, however that happened; to be called as it begins.

    The parent is the process that `bound_to_this` named in the environment, if it did.
    """
    parent = int(os.environ.pop(PARENT, os.getppid()))
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def bound_to_this() -> dict[str, str]:
    """The environment for a command that is to end with this process, if it asks `is_bound`."""
    return {**os.environ, PARENT: str(os.getpid())}


def is_bound() -> bool:
    """Whether the process that started this one wants it to end with itself."""
    return PARENT in os.environ


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PATIENCE)
    os._exit(1)


def is_running(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
