"""Makes MMEngine read checkpoints as data, whatever its release and wherever a checkpoint comes from.

MMEngine 0.10.12's `_safe_torch_load` reads again without torch's strict reader where that refuses, its reader for http
never uses it, and both allow `getattr`, which is enough to execute code. Readers of the original releases refuse their
own checkpoints. `read_checkpoints_with` replaces them all by one function.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint

STATISTICS = ("min", "max", "current", "mean")
SCHEMES = {"": "load_from_local", "http://": "load_from_http", "https://": "load_from_http"}


class SavedHistory(HistoryBuffer):
    """A HistoryBuffer as it is read: takes the numbers, and becomes MMEngine's own class when it has them.

    MMEngine would also take the functions that the file names as statistics, for all buffers of the process.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        values, counts = (np.asarray(state[name]) for name in ("_log_history", "_count_history"))
        if values.shape != counts.shape or values.ndim != 1:
            raise pickle.UnpicklingError("the history of a logged number is damaged")
        self._set_default_statistics()
        self.__dict__.update(max_length=int(state["max_length"]), _log_history=values, _count_history=counts)
        self.__class__ = HistoryBuffer


def saved_statistic(owner: type, name: str) -> Callable[..., Any]:
    """What stands for `getattr`, by which MMEngine's checkpoints refer to the statistics of HistoryBuffer.

    Raises:
        pickle.UnpicklingError: if it is asked for anything else.
    """
    if owner is not SavedHistory or name not in STATISTICS:
        raise pickle.UnpicklingError(f"it looks up {name!r} of {owner!r}")
    found: Callable[..., Any] = getattr(HistoryBuffer, name)
    return found


def message_hub_globals() -> list[tuple[Callable[..., Any], str]]:
    """(what to use, full name) of what MMEngine's checkpoints refer to besides tensors and plain containers."""
    core = getattr(np, "_core", None) or np.core
    arrays = [(getattr(core.multiarray, name), f"{package}.multiarray.{name}")
              for name in ("scalar", "_reconstruct") for package in ("numpy.core", "numpy._core")]  # fmt: skip
    kinds = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"}
    return [
        (SavedHistory, "mmengine.logging.history_buffer.HistoryBuffer"),
        (saved_statistic, "builtins.getattr"),
        (slice, "builtins.slice"),
        (np.ndarray, "numpy.ndarray"),
        (np.dtype, "numpy.dtype"),
        *arrays,
        *[(kind, f"{kind.__module__}.{kind.__qualname__}") for kind in kinds],
    ]


def read_checkpoints_with(read: Callable[..., Any], mmengine_checkpoint: ModuleType = checkpoint) -> None:
    """Let MMEngine's loaders for files, http(s), and through them all others, read by this function.

    Args:
        read: (path or file opened for reading bytes, map_location) -> content.
        mmengine_checkpoint: the module `mmengine.runner.checkpoint` of the release at hand.
    """

    def load_from_local(filename: str, map_location: Any = None) -> Any:
        return read(filename, map_location)

    def load_from_http(filename: str, map_location: Any = None, model_dir: str | None = None, **_: Any) -> Any:
        return read(_download(filename, model_dir), map_location)

    def _safe_torch_load(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return read(file, map_location)

    loaders = dict(load_from_local=load_from_local, load_from_http=load_from_http, _safe_torch_load=_safe_torch_load)
    for name, loader in loaders.items():  # loaders of other schemes call these by their names in the module
        setattr(mmengine_checkpoint, name, loader)
    for prefix, name in SCHEMES.items():
        mmengine_checkpoint.CheckpointLoader.register_scheme(prefixes=prefix, loader=loaders[name], force=True)


def _download(url: str, folder: str | None) -> Path:
    """The file of a URL in torch's cache; the first process of all downloads it."""
    place = Path(folder or Path(torch.hub.get_dir()) / "checkpoints") / Path(urlparse(url).path).name
    rank, _ = get_dist_info()
    if rank == 0 and not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(place), progress=False)
    barrier()
    return place
