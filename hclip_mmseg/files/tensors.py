"""Files of tensors, read as data: nothing in them is executed."""

from __future__ import annotations

import pickle
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch

from hclip_mmseg.files.torch_script import is_torch_script, read_torch_script

CHUNK = 1 << 20
ALLOWING = threading.Lock()  # torch keeps the names that its strict reader allows for the whole process

Allowed = Sequence[tuple[Callable[..., Any], str]]


def read_tensors(
    file: str | Path | BinaryIO, source: str | Path | None = None, allowed: Allowed = (), map_location: Any = "cpu"
) -> Any:
    """The content of a file of tensors: safetensors, `torch.save`'s archives and older pickles, TorchScript archives.

    Archives are first read through once to compare them with their checksums. Safetensors have a checked header, and
    the older pickles no checksums: of these, a changed byte among the numbers is not noticed.

    Args:
        file: path, or the file opened for reading bytes.
        source: how errors call the file; None for its path.
        allowed: (what to use, full name) of what the file may refer to besides tensors and plain containers.
        map_location: as `torch.load`'s, for files of `torch.save`.

    Returns:
        The object that was saved; of TorchScript and safetensors, the state dict.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, no file of tensors, or refers to anything else.
    """
    if isinstance(file, str | Path):
        with Path(file).expanduser().open("rb") as opened:
            return read_tensors(opened, source or file, allowed, map_location)
    try:
        return _read(file, allowed, map_location)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{source} is not read, since nothing in a checkpoint is executed: {_short(error)}") from error
    except Exception as error:  # what a damaged file makes its reader raise is anybody's guess
        raise ValueError(
            f"{source} ({_size(file):,} bytes) is no file of tensors, or a damaged one: {_short(error)}"
        ) from error


def _read(file: BinaryIO, allowed: Allowed, map_location: Any) -> Any:
    if _is_safetensors(file):
        return safetensors.torch.load(file.read())
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            _check_sums(archive)
            if is_torch_script(archive):
                return read_torch_script(archive)
    file.seek(0)
    with _allow_only(allowed):
        return torch.load(file, map_location=map_location, weights_only=True)


def _is_safetensors(file: BinaryIO) -> bool:
    """Whether a file begins with the length of a JSON header, and the header's brace."""
    file.seek(0)
    start = file.read(9)
    file.seek(0)
    return len(start) == 9 and start[8:] == b"{" and start[:2] != b"PK"


def _check_sums(archive: zipfile.ZipFile) -> None:
    for entry in archive.infolist():
        with archive.open(entry) as stored:
            while stored.read(CHUNK):  # zipfile compares the checksum where the entry ends
                pass


@contextmanager
def _allow_only(allowed: Allowed) -> Iterator[None]:
    """Let torch's strict reader take nothing but these, whatever other packages have allowed in this process."""
    with ALLOWING:
        others = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(list(allowed))
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(others)


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _short(error: Exception) -> str:
    """The error in one line; of torch's strict reader its own, without the advice to read the file less strictly."""
    if isinstance(error.__context__, pickle.UnpicklingError):
        error = error.__context__
    text = str(error).strip().split("\n")[0].split(" Please use `torch.serialization")[0]
    return text or type(error).__name__
