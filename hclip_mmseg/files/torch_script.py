"""State dicts of TorchScript archives, such as OpenAI's CLIP, read without running the archive's code."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

_CLASS = re.compile(r"^class (\w+)\(Module\):$(.*?)(?=^class |\Z)", re.MULTILINE | re.DOTALL)
_NAMES = re.compile(r"^  __(parameters|buffers)__ = \[(.*?)\]$", re.MULTILINE)

DTYPES = {
    "BoolStorage": torch.bool, "ByteStorage": torch.uint8, "CharStorage": torch.int8, "ShortStorage": torch.int16,
    "IntStorage": torch.int32, "LongStorage": torch.int64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "FloatStorage": torch.float32, "DoubleStorage": torch.float64,
}  # fmt: skip


def is_torch_script(archive: zipfile.ZipFile) -> bool:
    """Whether an archive was written by `torch.jit.save`, which stores constants beside the modules."""
    return any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist())


def read_torch_script(archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """The parameters and buffers that `torch.jit.load(...).state_dict()` would give, on the CPU.

    The modules are a pickle of attributes, beside code that is not run: each module becomes a container of what it
    holds, and its declaration, read as text, says which tensors are parameters and buffers.

    Raises:
        pickle.UnpicklingError: if the pickle refers to anything but modules, tensors and lists of numbers.
    """
    root = next(str(PurePosixPath(name).parent) for name in archive.namelist() if name.endswith("data.pkl"))
    content = io.BytesIO(archive.read(f"{root}/data.pkl"))
    module = _ModuleUnpickler(content, lambda key: archive.read(f"{root}/data/{key}")).load()
    state: dict[str, Tensor] = {}
    _collect(module, "", _declared(archive, root), state, set())
    return state


class _Module:
    """What stands for a module: its qualified name and its attributes."""

    name = ""

    def __setstate__(self, attributes: Any) -> None:
        if not isinstance(attributes, dict):
            raise pickle.UnpicklingError(f"the module {self.name} was stored in a form of its own")
        self.attributes = attributes


class _ModuleUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, read: Callable[[str], bytes]) -> None:
        super().__init__(file)
        self._read = read
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Makes what stands for the name anew each time, so that no file can change what another meets."""
        if module.startswith("__torch__"):
            return type("Stored", (_Module,), {"name": f"{module}.{name}"})
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _view(storage, offset, size, stride)
        if (module, name) == ("collections", "OrderedDict"):
            return lambda: OrderedDict()
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return lambda items, *_: items
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")

    def persistent_load(self, key: Any) -> Tensor:
        """The numbers of a storage, [count]."""
        kind, dtype, name, _, count = key
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("it refers to objects outside the archive")
        if name not in self._storages:
            content = bytearray(self._read(name))
            numbers = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            if len(numbers) != count:
                raise pickle.UnpicklingError(f"storage {name} has {len(numbers)} numbers instead of {count}")
            self._storages[name] = numbers
        return self._storages[name]


def _view(storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset)  # torch checks that it lies within the storage


def _declared(archive: zipfile.ZipFile, root: str) -> dict[str, set[str]]:
    """Qualified name of a module's class -> names of its parameters and buffers, where its code declares both."""
    declared = {}
    for file in archive.namelist():
        path = PurePosixPath(file)
        if path.suffix != ".py" or PurePosixPath(root, "code") not in path.parents:
            continue
        package = ".".join(path.relative_to(PurePosixPath(root, "code")).with_suffix("").parts)
        for name, body in _CLASS.findall(archive.read(file).decode("utf-8", "replace")):
            lists = dict(_NAMES.findall(body))
            if len(lists) == 2:
                declared[f"{package}.{name}"] = set(re.findall(r'"([^"]+)"', " ".join(lists.values())))
    return declared


def _collect(
    module: Any, prefix: str, declared: Mapping[str, set[str]], state: dict[str, Tensor], above: set[int]
) -> None:
    if not isinstance(module, _Module) or id(module) in above:
        raise pickle.UnpicklingError("it is no tree of modules")
    names = declared.get(module.name)
    for name, value in module.attributes.items():
        if isinstance(value, Tensor) and (names is None or name in names):
            state[f"{prefix}{name}"] = value
        elif isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", declared, state, above | {id(module)})
