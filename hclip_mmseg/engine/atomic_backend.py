"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend


@register_backend("atomic")
class AtomicLocalBackend(LocalBackend):
    """MMEngine's backend for local files, whose writes take effect at once or not at all.

    With ``CheckpointHook(backend_args=dict(backend="atomic"))`` a run that is killed while it saves leaves the
    checkpoints before as they were, and none that is cut off.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes ``obj`` beside ``filepath``, then puts it in its place."""
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        with partial.open("wb") as file:
            file.write(obj)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
