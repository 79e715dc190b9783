"""Reading MMEngine's own checkpoints with a torch that loads weights only by default (2.6 and later).

A checkpoint of a Runner holds more than weights: the history of the logged numbers, which resuming reads.
MMEngine 0.10.7 and earlier do not tell torch so, and fail on their own files; later releases do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, checkpoint


def trust_mmengine_checkpoints() -> bool:
    """Teach an older MMEngine to read the local checkpoints that it writes.

    Returns:
        True if MMEngine's reader of local files was replaced, False if that was not needed.
    """
    by_itself = hasattr(checkpoint, "get_torch_safe_globals")
    if by_itself or not hasattr(torch.serialization, "safe_globals"):
        return False
    CheckpointLoader.register_scheme(prefixes="", loader=load_from_local, force=True)
    return True


def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a checkpoint file: tensors, plain containers, and what MMEngine's message hub is made of.

    Raises:
        FileNotFoundError: there is no such file.
        pickle.UnpicklingError: the file holds objects of any other kind.
    """
    try:
        with torch.serialization.safe_globals(_message_hub_types()):
            return torch.load(filename, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"checkpoint {filename} does not exist") from None


def _message_hub_types() -> list[Any]:
    core = getattr(np, "_core", None) or np.core
    dtypes = [type(np.dtype(kind)) for kind in (np.uint32, np.float64, np.int64)]
    # getattr: a HistoryBuffer's bound statistics are pickled as look-ups on the buffer's class
    return [HistoryBuffer, getattr, slice, np.ndarray, np.dtype, core.multiarray.scalar,
            core.multiarray._reconstruct, *dtypes]  # fmt: skip
