"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hclip_mmseg.files.errors import FullDiskError, WriteError, full_disk_line, lack_of_space
from hclip_mmseg.files.processes import is_running


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path to write to; what was written appears as ``path`` when the block ends well, else not at all.

    It is on the disk before it appears, so that a power cut leaves the old file or the whole new one.

    Raises:
        FullDiskError: for lack of space; nothing is left behind, and an older file stays.
        WriteError: if the file cannot be written for another reason.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    except Exception as error:
        full = lack_of_space(error)
        if full is not None:
            raise FullDiskError(full_disk_line(path, full)) from error
        own = {str(place) for place in (part, path, *path.parents)}
        if isinstance(error, OSError) and (error.filename is None or str(error.filename) in own):
            raise WriteError(f"{path} cannot be written: {error.strerror or error}") from error
        raise
    finally:
        _remove_file(part)


def _remove_file(part: Path) -> None:
    """Remove a part, if it was ever made; its folder may be closed or gone by now."""
    try:
        part.unlink(missing_ok=True)
    except OSError:
        pass


def remove_dead_parts(folder: Path) -> None:
    """Remove what processes of this machine that were killed left half written in a folder, which need not exist."""
    for part in folder.glob(f".*.{socket.gethostname()}.*.part"):
        process = part.name.split(".")[-2]
        if process.isdecimal() and not is_running(int(process)):
            part.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file that is either the old one or the whole new one, whatever happens; see `whole`."""
    with whole(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(text)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all; see `whole`.

    ``content`` is no view of a BytesIO: an error keeps it, and Pythons before 3.11.8 and 3.12.2 crash when they
    collect it.
    """
    with whole(path) as part, part.open("wb") as file:
        file.write(content)


def write_tensors(path: str | Path, content: Any) -> None:
    """Write a file of tensors by ``torch.save``, whole or not at all; see `whole`."""
    import torch  # takes long to import, and texts and images need none of it

    with whole(path) as part, part.open("wb") as file:  # of a file of Python's, torch passes the reason of a failure on
        torch.save(content, file)


def write_image(path: str | Path, image: NDArray[np.generic] | Image.Image, **options: Any) -> None:
    """Write an image in the format that its name ends in, whole or not at all; see `whole`.

    Args:
        path: of the file.
        image: RGB uint8 [H, W, 3], or grey uint8 or uint16 [H, W]; or one of Pillow's.
        options: of Pillow's writer for the format.
    """
    kind = Image.registered_extensions().get(Path(path).suffix.lower())
    if kind is None:
        raise WriteError(f"{path}: no format of images is called {Path(path).suffix or 'nothing'}; use .png or .jpg")
    encoded = BytesIO()  # into a file, Pillow's JPEG leaves out what a full disk does not take, and says nothing
    made = image if isinstance(image, Image.Image) else Image.fromarray(image)
    made.save(encoded, format=kind, **options)
    write_bytes(path, encoded.getvalue())


def write_figure(path: str | Path, figure: Any, dpi: int) -> None:
    """Write a figure of matplotlib in the format that its name ends in, whole or not at all; see `whole`."""
    encoded = BytesIO()
    figure.savefig(encoded, format=Path(path).suffix.removeprefix(".").lower() or "png", dpi=dpi)
    write_bytes(path, encoded.getvalue())
