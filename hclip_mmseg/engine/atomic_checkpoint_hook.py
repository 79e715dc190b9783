"""Checkpoints that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's hook, made safe against being killed at any moment.

    A checkpoint is written beside its place and moved there when it is complete; then ``last_checkpoint``, which
    ``--resume`` follows, is replaced by one that names it; only then is the oldest checkpoint removed. So there
    is always a whole one, also with ``max_keep_ckpts=1``, for which the disk must hold two for a moment. What a
    killed run leaves beside, ``*.partial``, is overwritten by the run that goes on.

    Arguments are those of MMEngine's hook. Folders that are not on a local disk are left to it.
    """

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        if not isinstance(self.file_backend, LocalBackend):
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        outdated = self._outdated_by(step)
        if self.max_keep_ckpts > 0:
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        place = self._place(step)
        self.last_ckpt = str(place)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        beside = _beside(place)
        runner.save_checkpoint(
            self.out_dir,
            beside.name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        barrier()  # a sharded checkpoint is a folder that all processes write into
        if is_main_process():
            _move(beside, place)
            pointer = Path(runner.work_dir) / "last_checkpoint"
            _beside(pointer).write_text(self.last_ckpt)
            _move(_beside(pointer), pointer)
            if outdated is not None:
                _remove(self._place(outdated))

    def _outdated_by(self, step: int) -> int | None:
        """The step of the checkpoint that has to go for this one, which is counted from now on."""
        if self.max_keep_ckpts <= 0:
            return None
        kept = self.keep_ckpt_ids
        if kept and kept[-1] == step:
            return None
        outdated: int | None = kept.popleft() if len(kept) == self.max_keep_ckpts else None
        kept.append(step)
        return outdated

    def _place(self, step: int) -> Path:
        return Path(self.out_dir) / self.filename_tmpl.format(step)


def _beside(place: Path) -> Path:
    return place.with_name(f"{place.name}.partial")


def _move(source: Path, place: Path) -> None:
    """Moves a file or folder, once its content is on the disk, to a place where an older one may be."""
    for file in source.iterdir() if source.is_dir() else [source]:
        with file.open("rb") as written:
            os.fsync(written.fileno())
    if place.is_dir():  # only files are replaced in one step
        _remove(place)
    os.replace(source, place)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
