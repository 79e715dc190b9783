"""Where published weights lie on this machine, what is noted of them, and how two processes keep apart.

Each model has a folder. In it are the published file, beside it ``<file>.json`` with its address, length and SHA-256,
and the file converted to this project's form. A published file that somebody puts there by hand is as good as a
downloaded one.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from hclip_mmseg.files.checkpoints import find_checkpoint
from hclip_mmseg.files.checksums import sha256_of
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.home import HOME, home
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.writing import write_whole
from hclip_mmseg.zoo.metafiles import ZooModel

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Of errors where a folder cannot be written to."""


def folder_of(model: ZooModel) -> Path:
    """The folder of one model; it need not exist."""
    return home() / model.name


def place_of(model: ZooModel) -> Path:
    """Where the published file of a model lies, or has to be put.

    Raises:
        ValueError: if the model has none.
    """
    if model.weights is None:
        raise InputError(f"nobody publishes weights of {model.name}: train them by hclip-train {model.config}")
    return folder_of(model) / model.weights.file


class ReadOnlyError(InputError):
    """Raised where a folder for weights cannot be written to."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, which is made; says so where another one is there and has to be waited for.

    Raises:
        ReadOnlyError: if nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            print(f"waiting for another process that works on {folder}")
            lock.acquire()
    except OSError as error:
        if error.errno not in (*READ_ONLY, errno.ENOTDIR, errno.EEXIST, errno.ENOENT):
            raise
        raise ReadOnlyError(f"{folder} cannot be written to: set {HOME} to a folder that can") from error
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class Record:
    """What was noted of a published file.

    Attributes:
        url: where it is published.
        bytes: its length.
        sha256: its checksum, in hexadecimal digits.
    """

    url: str
    bytes: int
    sha256: str


def record_path(path: Path) -> Path:
    """Where the record of a file stands."""
    return path.with_name(f"{path.name}.json")


def read_record(path: Path) -> Record | None:
    """The record beside a file; None if there is none, or it is none."""
    try:
        content = read_json(record_path(path))
        return Record(str(content["url"]), int(content["bytes"]), str(content["sha256"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def checked(path: Path, url: str) -> Record:
    """The record of a published file; it is checked and the record written where there is none yet.

    Raises:
        ValueError: if the file is no complete checkpoint, or its length is another than was noted.
    """
    known = read_record(path)
    if known is not None and known.url == url:
        size = path.stat().st_size
        if size != known.bytes:
            raise InputError(
                f"{path} has {size:,} bytes and had {known.bytes:,} when it came: remove it and its .json, "
                "then try again"
            )
        return known
    find_checkpoint(path)
    record = Record(url, path.stat().st_size, sha256_of(path))
    try:
        write_whole(record_path(path), json.dumps(asdict(record), indent=2) + "\n")
    except OSError as error:  # of a folder that is for reading only: nothing is lost but the next look's time
        if error.errno not in READ_ONLY:
            raise
    return record


def verify(path: Path) -> bool:
    """Whether a file still has the checksum in its record; a file without one has not."""
    known = read_record(path)
    return known is not None and sha256_of(path) == known.sha256
