"""The folder of a training: its latest checkpoint, and who works in it."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.processes import is_running

POINTER = "last_checkpoint"
NUMBERED = re.compile(r"(?:iter|epoch)_(\d+)\.pth$")
PATIENCE = 30.0
"""Seconds that a run waits for a folder whose process has ended, until its data loaders have ended too."""


def find_latest(folder: str | Path) -> Path | None:
    """The latest checkpoint in a run's folder, wherever the folder was moved or copied to.

    It is the one beside ``last_checkpoint`` that this file names, unless a later one was written and the file not yet:
    a kill can fall between the two.

    Args:
        folder: of the run; it need not exist.

    Returns:
        Its path, or None where there is no checkpoint.
    """
    folder = Path(folder)
    pointer = folder / POINTER
    written = pointer.stat().st_mtime_ns if pointer.is_file() else -1
    named = folder / Path(pointer.read_text(encoding="utf-8").strip()).name if pointer.is_file() else None
    if named is not None and not named.exists():
        named = None
    later = [
        (int(match[1]), path)
        for path in folder.glob("*.pth")
        if (match := NUMBERED.match(path.name)) and (named is None or path.stat().st_mtime_ns > written)
    ]
    best = max(later, default=None)
    if best is None:
        return named
    match = NUMBERED.match(named.name) if named is not None else None
    return named if match and int(match[1]) >= best[0] else best[1]


@contextmanager
def alone_in(folder: str | Path) -> Iterator[None]:
    """Hold a run's folder, in which one training works at a time; it is given back however this process ends.

    Where the file system has no locks this is said, and nothing is held.

    Args:
        folder: of the run; it is made, and taken away again if nothing was written into it.

    Raises:
        ValueError: if another training works in it: which process, on which machine.
    """
    folder = Path(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / ".holder.json"
    lock = FileLock(folder / ".lock")
    started = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=0.2)
            break
        except Timeout:
            holder = _read_holder(about)
            if _has_ended(holder) and time.monotonic() - started < PATIENCE:
                continue
            who = f"process {holder['process']} on {holder['machine']}" if holder else "another process"
            raise ValueError(
                f"{folder} is in use by {who}, which trains there; wait for it, or give another --work-dir"
            ) from None
        except (OSError, NotImplementedError) as error:
            print(f"{folder} cannot be locked ({error}): start no other training in it", file=sys.stderr)
            break
    try:
        about.write_text(json.dumps(dict(process=os.getpid(), machine=socket.gethostname())), encoding="utf-8")
        yield
    finally:
        about.unlink(missing_ok=True)
        if made and all(path.name == ".lock" for path in folder.iterdir()):
            (folder / ".lock").unlink(missing_ok=True)
            _remove_empty(made)
        lock.release()


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, innermost first, up to one that something was put into meanwhile."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _read_holder(about: Path) -> dict[str, object] | None:
    try:
        holder = read_json(about)
    except (OSError, ValueError):
        return None
    return holder if isinstance(holder, dict) and {"process", "machine"} <= holder.keys() else None


def _has_ended(holder: dict[str, object] | None) -> bool:
    """Whether the process that held the folder is gone, and only its children are left to end."""
    if holder is None or holder["machine"] != socket.gethostname():
        return False
    process = str(holder["process"])
    return process.isdecimal() and not is_running(int(process))
