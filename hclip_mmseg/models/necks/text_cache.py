"""Embeddings of many texts on disk, so that another run with the same weights and texts need not compute them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hclip_mmseg.files.errors import one_line
from hclip_mmseg.files.home import home
from hclip_mmseg.files.writing import whole

LEAST_TEXTS = 1000
"""Fewer texts are encoded sooner than the weights are read for their digest."""
MOST_BYTES = 1 << 30
"""Of all files together; those that were not used for longest go first."""
FORM = "1"
"""Part of every key: to be raised where the same weights and tokens come to give other embeddings."""


def digest_of(tensors: Iterable[Tensor], *about: object) -> str:
    """A digest of tensors' types, shapes and values, and of what is said beside them."""
    digest = blake2b("\0".join(map(str, about)).encode(), digest_size=16)
    for tensor in tensors:
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{values.dtype} {list(values.shape)};".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def plain(tensors: Iterable[Tensor]) -> bool:
    """Whether tensors hold numbers that can be read here: no shards, no stand-ins of a graph, nothing on 'meta'."""
    return all(type(tensor) in (Tensor, nn.Parameter) and not tensor.is_meta for tensor in tensors)


class TextCache:
    """Embeddings by a key that tells all that they were computed from.

    A file that cannot be read counts as none, and one that cannot be written is left out with a line in the log: the
    cache saves time and decides nothing.

    Args:
        folder: for the files; None: ``texts`` in :func:`~hclip_mmseg.files.home.home`.
        most_bytes: of all files together.
    """

    def __init__(self, folder: str | Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        self.folder, self.most_bytes = Path(folder) if folder else home() / "texts", most_bytes

    def read(self, key: str, shape: tuple[int, ...]) -> Tensor | None:
        """The embeddings of a key, whose first sizes must be ``shape``; None where there are none."""
        path = self._path(key)
        try:
            found = load_file(path)["embeddings"]
            os.utime(path)  # the time of its last use
        except (OSError, SafetensorError, KeyError):
            return None
        return found if found.shape[:-1] == shape and found.dtype == torch.float32 else None

    def write(self, key: str, embeddings: Tensor) -> None:
        """Keep embeddings, and remove the files that were not used for longest where all are too many."""
        if embeddings.numel() * embeddings.element_size() > self.most_bytes:
            return
        try:
            with whole(self._path(key)) as part:
                save_file({"embeddings": embeddings.cpu().contiguous()}, part)
            self._remove_oldest()
        except (OSError, ValueError) as error:
            MMLogger.get_current_instance().warning(f"text embeddings are not kept: {one_line(error)}")

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _remove_oldest(self) -> None:
        files = [(path, path.stat()) for path in self.folder.glob("*.safetensors")]
        total = sum(stat.st_size for _, stat in files)
        for path, stat in sorted(files, key=lambda entry: entry[1].st_mtime):
            if total <= self.most_bytes:
                break
            path.unlink(missing_ok=True)  # another process may have removed it
            total -= stat.st_size
