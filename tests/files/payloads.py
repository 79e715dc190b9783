"""Files that would run code if they were read carelessly; every one would create a marker file."""

from __future__ import annotations

import importlib.util
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch


class Touch:
    """Creates a file where it is unpickled without restrictions."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def in_meta(path: Path, content: dict, marker: Path) -> None:
    torch.save({**content, "meta": {"note": Touch(marker)}}, path)


def in_optimizer(path: Path, content: dict, marker: Path) -> None:
    torch.save({**content, "optimizer": {"state": {0: Touch(marker)}, "param_groups": []}}, path)


def in_history(path: Path, content: dict, marker: Path) -> None:
    torch.save({**content, "message_hub": {"log_scalars": {"train/loss": Touch(marker)}}}, path)


def legacy(path: Path, content: dict, marker: Path) -> None:
    torch.save({**content, "note": Touch(marker)}, path, _use_new_zipfile_serialization=False)


def bare_pickle(path: Path, content: dict, marker: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": {}, "note": Touch(marker)}, protocol=2))


def numpy_archive(path: Path, content: dict, marker: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, weights=np.array([Touch(marker)], dtype=object))


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _before_content(path: Path, content: dict, operations: bytes) -> None:
    """A good archive whose pickle begins with other operations; what follows is read as always."""
    good = path.with_suffix(".good")
    torch.save(content, good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data[:2] + operations + data[2:] if name.endswith("data.pkl") else data)
    good.unlink()


def by_getattr(path: Path, content: dict, marker: Path) -> None:
    """getattr(torch._utils._rebuild_tensor, "__globals__") and the like lead to anything."""
    look_up = b"cbuiltins\ngetattr\n"
    namespace = look_up + b"ctorch._utils\n_rebuild_tensor\n" + _text("__globals__") + b"\x86R0"
    _before_content(path, content, namespace)


def by_getattr_of_history(path: Path, content: dict, marker: Path) -> None:
    history = b"cbuiltins\ngetattr\ncmmengine.logging.history_buffer\nHistoryBuffer\n" + _text("__init__") + b"\x86R0"
    _before_content(path, content, history)


def by_eval(path: Path, content: dict, marker: Path) -> None:
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    _before_content(path, content, b"cbuiltins\neval\n" + _text(code) + b"\x85R0")


SCRIPT = """
from typing import Tuple
import torch


class M(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(2))

    @torch.jit.export
    def __getstate__(self):
        return (self.w, self.training)

    @torch.jit.export
    def __setstate__(self, state: Tuple[torch.Tensor, bool]):
        self.w = state[0]
        self.training = state[1]
        torch.save(torch.ones(1), "MARKER")

    def forward(self, x: torch.Tensor):
        return x
"""


def torch_script(path: Path, content: dict, marker: Path) -> None:
    """An archive whose own code writes a file when torch.jit opens it."""
    source = path.with_suffix(".source.py")
    source.write_text(SCRIPT.replace("MARKER", str(marker)))
    spec = importlib.util.spec_from_file_location(f"payload_{abs(hash(str(path)))}", source)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    torch.jit.script(module.M()).save(str(path))
    marker.unlink(missing_ok=True)


def absurd_safetensors(path: Path, content: dict, marker: Path) -> None:
    path.write_bytes(
        struct.pack("<Q", 2**62) + b'{"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}'
    )


PAYLOADS: list[Callable[[Path, dict, Path], None]] = [
    in_meta, in_optimizer, in_history, legacy, bare_pickle, numpy_archive, by_getattr, by_getattr_of_history, by_eval,
    torch_script, absurd_safetensors,
]  # fmt: skip
