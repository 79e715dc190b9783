"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.context import BaseContext

PARENT = "HCLIP_PARENT_PROCESS"
PATIENCE = 0.5
"""Seconds after which a process looks whether its parent is still there."""


def end_with_parent() -> None:
    """End this process soon after its parent has ended, however that happened; to be called as it begins.

    The parent is the process that `bound_to_this` named in the environment, if it did.
    """
    parent = int(os.environ.pop(PARENT, os.getppid()))
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def deaf_to_groups(context: BaseContext | None) -> BaseContext | None:
    """A context whose processes begin with the signal TERM blocked, where the system can tell who sent one (Linux).

    A scheduler or `timeout` sends the signal to a whole group. Data loaders' processes that obeyed it would leave
    their training without the images of the iteration that it wants to finish. A signal is for any thread of a
    process, and torch begins threads in a process that is forked before any code of ours runs there: they all inherit
    what is blocked where it is forked. `end_by_parent_alone` is then what ends the process.

    Args:
        context: of multiprocessing; None: its default.

    Returns:
        The context to use in its place: the same where processes are not forked.
    """
    method = (context or multiprocessing).get_start_method()
    return _DeafContext() if method == "fork" and hasattr(signal, "sigwaitinfo") else context


class _DeafProcess(multiprocessing.get_context("fork").Process):  # type: ignore[misc]
    def start(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _DeafContext(type(multiprocessing.get_context("fork"))):  # type: ignore[misc]
    Process = _DeafProcess


def end_by_parent_alone() -> None:
    """Let the signal TERM end this process if its parent sent it, where the system tells who did (Linux)."""
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
