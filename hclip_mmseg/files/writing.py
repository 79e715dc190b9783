"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hclip_mmseg.files.processes import is_running


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to; what was written appears as ``path`` when the block ends well, else not at all.

    It is on the disk before it appears, so that a power cut leaves the old file or the whole new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_dead_parts(folder: Path) -> None:
    """Remove what processes of this machine that were killed left half written in a folder, which need not exist."""
    for part in folder.glob(f".*.{socket.gethostname()}.*.part"):
        process = part.name.split(".")[-2]
        if process.isdecimal() and not is_running(int(process)):
            part.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file that is either the old one or the whole new one, whatever happens."""
    with whole(Path(path)) as part, part.open("w", encoding="utf-8") as file:
        file.write(text)
