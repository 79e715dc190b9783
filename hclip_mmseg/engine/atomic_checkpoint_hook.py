"""Checkpoints that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from numpy.typing import NDArray
from torch import nn

from hclip_mmseg.files.errors import FullDiskError, full_disk_line, lack_of_space
from hclip_mmseg.files.run_folders import POINTER, find_latest
from hclip_mmseg.files.state_dicts import find_state_dict, not_finite, without_shared_prefix
from hclip_mmseg.files.writing import write_whole
from hclip_mmseg.models.open_vocab_model import model_inside


class DivergedTrainingError(ValueError):
    """Raised where weights have become NaN or Inf, before they are saved."""


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's hook, made safe against being killed at any moment.

    A checkpoint is written beside its place and moved there when it is complete; then ``last_checkpoint``, which
    ``--resume`` follows, is replaced by one that names it; only then is the oldest checkpoint removed. So there
    is always a whole one, also with ``max_keep_ckpts=1``, for which the disk must hold two for a moment. What a
    killed run leaves beside, ``*.partial``, is overwritten by the run that goes on. The best checkpoint
    (``save_best``) is replaced in the same way, and looked for in this run's folder, wherever it was moved.

    Weights that are NaN or Inf are never saved: training ends instead, at the first loss that is no number, and the
    last good checkpoint stays. A checkpoint whose names all begin with a wrapper's prefix is loaded without it.

    Arguments are those of MMEngine's hook. Folders that are not on a local disk are left to it.
    """

    def before_train(self, runner: Runner) -> None:
        """Go on with the checkpoints in this folder: a copy's original keeps its own."""
        super().before_train(runner)
        if not isinstance(self.file_backend, LocalBackend):
            return
        self._set_best({key: str(Path(self.out_dir) / Path(best).name) for key, best in self._best().items()})
        known = runner.message_hub.runtime_info
        if runner.iter and "last_ckpt" in known:
            # a validation that is made up for writes its best score into it
            self.last_ckpt = str(Path(self.out_dir) / Path(known["last_ckpt"]).name)
        if known.get("outdated_ckpt_id") is not None and is_main_process():  # a kill fell before its removal
            _remove(self._place(known["outdated_ckpt_id"]))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Drop prefixes that all names share and the model does not have."""
        state = find_state_dict(checkpoint, ("state_dict",))
        own = {name for name, _ in unwrapped(runner.model).named_parameters()}
        if not own.intersection(state):
            checkpoint["state_dict"] = without_shared_prefix(state, "the checkpoint")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Save where it is due; end the training where the loss, and the weights after it, are no numbers any more.

        Raises:
            DivergedTrainingError: which tensor, since when, and the last good checkpoint.
        """
        losses = _losses(runner)
        if len(losses) and not np.isfinite(losses[-1]):
            check_weights(runner)
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def save_now(self, runner: Runner) -> None:
        """Save a checkpoint after this iteration, unless that is done; runs by epochs go on from whole ones only."""
        if not self.by_epoch and self.last_ckpt != str(self._place(runner.iter + 1)):
            self._save_checkpoint(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        check_weights(runner)
        if not isinstance(self.file_backend, LocalBackend):
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        outdated = self._outdated_by(step)
        if self.max_keep_ckpts > 0:
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        runner.message_hub.update_info("outdated_ckpt_id", outdated)
        place = self._place(step)
        self.last_ckpt = str(place)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        WholeCheckpoints(runner).save_checkpoint(
            self.out_dir,
            place.name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            pointer = Path(runner.work_dir) / POINTER
            write_whole(pointer, self.last_ckpt)
            if outdated is not None:
                _remove(self._place(outdated))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if not self.save_best or not isinstance(self.file_backend, LocalBackend):
            super()._save_best_checkpoint(runner, metrics)
            return
        before = self._best()
        self._set_best({})  # MMEngine would remove them before it saves better ones
        try:
            super()._save_best_checkpoint(WholeCheckpoints(runner), metrics)
        finally:
            best = before | self._best()
            self._set_best(best)
        if is_main_process():
            for outdated in set(before.values()) - set(best.values()):
                _remove(Path(outdated))

    def _best(self) -> dict[str, str]:
        """The best checkpoint so far by each metric that has one; a metric alone is called ''."""
        if not self.save_best:
            return {}
        if len(self.key_indicators) == 1:
            return {"": self.best_ckpt_path} if self.best_ckpt_path else {}
        return {key: best for key, best in self.best_ckpt_path_dict.items() if best}

    def _set_best(self, best: dict[str, str]) -> None:
        if not self.save_best:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = best.get("")
        else:
            self.best_ckpt_path_dict = {key: best.get(key) for key in self.key_indicators}

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


class WholeCheckpoints:
    """A runner whose checkpoints appear whole or not at all; all else is the runner's own.

    Args:
        runner: that saves them, into a folder on a local disk.
    """

    def __init__(self, runner: Runner | WholeCheckpoints) -> None:
        self._runner: Runner = runner._runner if isinstance(runner, WholeCheckpoints) else runner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def save_checkpoint(self, out_dir: str, filename: str, *arguments: Any, **options: Any) -> None:
        """Write a checkpoint beside its place, and move it there; see ``Runner.save_checkpoint``.

        Raises:
            FullDiskError: for lack of space; nothing is left behind.
        """
        place = Path(out_dir) / filename
        try:
            self._runner.save_checkpoint(out_dir, _beside(place).name, *arguments, **options)
        except Exception as error:
            full = lack_of_space(error)
            if full is None:
                raise
            _remove(_beside(place))
            raise FullDiskError(full_disk_line(place, full)) from error
        barrier()  # a sharded checkpoint is a folder that all processes write into
        if is_main_process():
            _move(_beside(place), place)


def check_weights(runner: Runner) -> None:
    """Check that all weights are finite numbers.

    Raises:
        DivergedTrainingError: which tensor is not, since when, and the last good checkpoint.
    """
    model = unwrapped(runner.model)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        value = not_finite(name, tensor)
        if value is None:
            continue
        losses = _losses(runner)
        lost = np.flatnonzero(~np.isfinite(losses))
        began = runner.iter + 2 - len(losses)
        since = f"; the loss was no number first in iteration {began + lost[0]}" if len(lost) else ""
        good = find_latest(runner.work_dir)
        kept = f"the last good checkpoint is {good}" if good else "no checkpoint was written before"
        raise DivergedTrainingError(
            f"training stopped in iteration {runner.iter + 1}: {name} holds {value}{since}; {kept}. Lower the learning "
            "rate or clip gradients, and go on from there"
        )


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside a wrapper of several processes."""
    inner: nn.Module = model_inside(model)
    return inner


def _losses(runner: Runner) -> NDArray[np.floating]:
    """The losses of all iterations so far, as the message hub keeps them."""
    name = "train/loss"
    hub = runner.message_hub
    return hub.get_scalar(name).data[0] if name in hub.log_scalars else np.empty(0)


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
