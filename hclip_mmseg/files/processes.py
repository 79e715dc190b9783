"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import os
import signal
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


def end_by_parent_alone() -> None:
    """Let no process but the parent end this one by the signal TERM, where the system tells who sent it (Linux does).

    A scheduler or `timeout` sends the signal to a whole group. Data loaders' processes that obeyed it would leave
    their training without the images of the iteration that it wants to finish.
    """
    if not hasattr(signal, "sigwaitinfo"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


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
