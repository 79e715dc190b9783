"""One training run of tools/ablate.py: its config, whether its result can be trusted, running it."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

import hclip_mmseg
from hclip_mmseg.apis import launch, record
from hclip_mmseg.files import checkpoints
from hclip_mmseg.files.paths import locate
from hclip_mmseg.files.writing import write_whole

TRAIN = Path(__file__).resolve().parent / "train.py"
ADAPTER = "backbone.adapter"


@dataclass(frozen=True)
class Settings:
    """What all runs of an ablation share.

    Attributes:
        out: folder of the ablation.
        max_iters: length of every run; None for the base config's.
        scenes: validation scenes; None for the base config's.
        search_iters: length of a run of the search; None for that of all runs.
        validations: how often a run is evaluated, its end included; a run of the search only at its end.
        options: settings of the config to replace.
    """

    out: Path
    max_iters: int | None = None
    scenes: int | None = None
    search_iters: int | None = None
    validations: int = 3
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A row of the table, trained once.

    Attributes:
        row: its name.
        seed: of the run.
        factor: what the adapters' learning rate is multiplied by.
        search: whether the run is part of the search for that factor: other validation scenes, other folder.
    """

    row: str
    seed: int
    factor: float = 1.0
    search: bool = False

    def folder(self, out: Path) -> Path:
        """Where the run writes."""
        if self.search:
            return out / "search" / self.row / f"rate_x{self.factor:g}"
        return out / self.row / f"seed_{self.seed}"


def shorten(cfg: Config, iterations: int) -> None:
    """Train for that many iterations, with every schedule stretched or shrunk in proportion."""
    share = iterations / cfg.train_cfg.max_iters
    for schedule in cfg.param_scheduler:
        for key in ("begin", "end", "T_max"):
            if key in schedule:
                schedule[key] = round(schedule[key] * share)
        if "end" in schedule:
            schedule.end = max(schedule.end, schedule.begin + 2)
        if "T_max" in schedule:
            schedule.T_max = max(schedule.T_max, 1)
    cfg.train_cfg.max_iters = iterations


def job_config(table: Config, job: Job, settings: Settings) -> Config:
    """The config of a run.

    Args:
        table: has ``base``, the path of a config, and ``rows``, each with ``backbone``, settings of the backbone to
            replace, and ``model`` (optional), the same of the model.
        job: which run.
        settings: what all runs share.

    Raises:
        FileNotFoundError: if the base config is not there.
        ValueError: if the run is shorter than one iteration, or its learning rate cannot be searched.
    """
    cfg = launch.read_config(table.base)
    row = table.rows[job.row]
    for part, changes in ((cfg.model, row.get("model", {})), (cfg.model.backbone, row.backbone)):
        for key, value in copy.deepcopy(dict(changes)).items():
            part[key] = value  # update() would merge the rows' adapter into the base's
    if settings.options:
        cfg.merge_from_dict(dict(settings.options))
    iterations = settings.max_iters
    if job.search and settings.search_iters is not None:
        iterations = settings.search_iters
    if iterations is not None:
        if iterations < 1:
            raise ValueError(f"a run needs at least 1 iteration, not {iterations}")
        shorten(cfg, iterations)
    whole = cfg.train_cfg.max_iters
    wanted = 1 if job.search else max(settings.validations, 1)
    times = next(n for n in range(wanted, 0, -1) if whole % n == 0)
    cfg.train_cfg.val_interval = whole // times
    scenes = cfg.val_dataloader.dataset
    if settings.scenes is not None:
        scenes.length = settings.scenes
    if job.search and scenes.type in ("SceneDataset", "SceneDetectionDataset"):
        scenes.seed = scenes.get("seed", 0) + 1  # those that are reported decide nothing
    if job.factor != 1:
        keys = cfg.optim_wrapper.get("paramwise_cfg", {}).get("custom_keys", {})
        if ADAPTER not in keys:
            raise ValueError(f"{table.base} gives {ADAPTER} no learning rate of its own, so there is none to search")
        for key in keys:
            if key.startswith(ADAPTER):  # parts of it that learn at a rate of their own too
                keys[key].lr_mult *= job.factor
    cfg.randomness = dict(seed=job.seed)
    cfg.custom_hooks = [hook for hook in cfg.get("custom_hooks", []) if hook.type != "ComparisonHook"]
    cfg.custom_hooks.append(dict(type="mmseg.SummaryHook"))
    hooks = cfg.default_hooks
    hooks.checkpoint.update(interval=whole, save_optimizer=False, save_param_scheduler=False)
    if "visualization" in hooks:
        hooks.visualization.draw = False
    return cfg


def fingerprint(cfg: Config) -> str:
    """What a result depends on: the config, the versions of what runs it, CLIP's geometry and weights, and those of
    the proposals where a mask generator starts from a file.

    The project's own code is not part of it, or every edit would throw all results away; see :func:`code_digest`.
    """
    clip = cfg.model.backbone.clip
    proposals = checkpoints.generator_files((cfg.model.get("generator") or {}).get("init_cfg"))
    names = [clip.get("model"), clip.get("pretrained"), *(one["checkpoint"] for one in proposals)]
    files = [locate(name) for name in names if isinstance(name, str)]
    parts = (
        json.dumps(cfg.to_dict(), sort_keys=True, default=str),
        json.dumps(record.versions(), sort_keys=True),
        *(hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path is not None and path.is_file()),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def code_digest() -> str:
    """A short name for the state of the code that trains; the report tells which rows are of another one."""
    digest = hashlib.sha256(TRAIN.read_bytes())
    package = Path(hclip_mmseg.__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def trusted_result(folder: Path, expected: str) -> dict[str, Any] | None:
    """The result in a folder, if it is whole and came from that very config and those versions."""
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("fingerprint") == expected else None


class Runs:
    """Starts training runs as processes of their own, and ends those that are left when told to stop."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, job: Job, cfg: Config, folder: Path, cores: Sequence[int] | None, threads: int) -> dict[str, Any]:
        """Trains with tools/train.py and keeps the result.

        Args:
            job: which run.
            cfg: its config.
            folder: where it writes: config.py, log.txt, result.json and what a training run writes.
            cores: the cores that it may use; None for all.
            threads: threads of its arithmetic.

        Returns:
            What SummaryHook wrote, with the job, the fingerprint, the versions, and what step times depend on.

        Raises:
            RuntimeError: if the run failed, with the end of its log.
        """
        expected, code = fingerprint(cfg), code_digest()
        folder.mkdir(parents=True, exist_ok=True)
        summary = folder / "summary.json"
        summary.unlink(missing_ok=True)
        cfg.dump(folder / "config.py")
        command = [sys.executable, str(TRAIN), str(folder / "config.py"), "--work-dir", str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        with open(folder / "log.txt", "wb") as log:
            returned = self._run(command, environment, log, cores)
        if returned != 0 or not summary.is_file():
            tail = (folder / "log.txt").read_text(errors="replace").splitlines()[-5:]
            raise RuntimeError(f"{job} ended with code {returned}; {folder / 'log.txt'} ends:\n" + "\n".join(tail))
        result = dict(
            fingerprint=expected,
            row=job.row,
            seed=job.seed,
            factor=job.factor,
            versions=record.versions(),
            code=code,
            cores=len(launch.usable_cores() if cores is None else cores),
            threads=threads,
            **json.loads(summary.read_text()),
        )
        write_whole(folder / "result.json", json.dumps(result, indent=1) + "\n")
        return result

    def _run(self, command: list[str], environment: dict[str, str], log: Any, cores: Sequence[int] | None) -> int:
        if self._stopped:
            raise RuntimeError("stopped before it was started")
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        self._running.add(process)
        try:
            if cores is not None:
                os.sched_setaffinity(process.pid, cores)  # threads that it starts later inherit this
            return process.wait()
        finally:
            self._running.discard(process)

    def stop(self) -> None:
        """Ends what runs; nothing is started after."""
        self._stopped = True
        for process in list(self._running):
            process.terminate()
