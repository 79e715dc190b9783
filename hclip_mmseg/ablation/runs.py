"""Training runs as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from mmengine.config import Config

from hclip_mmseg.ablation.jobs import Job
from hclip_mmseg.ablation.results import code_digest, fingerprint
from hclip_mmseg.apis import launch, record
from hclip_mmseg.files.paths import PROJECT_ROOT, is_clone
from hclip_mmseg.files.processes import bound_to_this
from hclip_mmseg.files.writing import write_whole


def train_command() -> list[str]:
    """The beginning of the command that trains: a clone's own script, else the installed ``hclip-train``."""
    if is_clone():
        return [sys.executable, str(PROJECT_ROOT / "tools/train.py")]
    return [sys.executable, "-m", "hclip_tools.train"]


class Runs:
    """Starts training runs as processes of their own, and ends those that are left when told to stop."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, job: Job, cfg: Config, folder: Path, cores: Sequence[int] | None, threads: int) -> dict[str, Any]:
        """Train, and keep the result.

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
        command = [*train_command(), str(folder / "config.py"), "--work-dir", str(folder)]
        environment = {**bound_to_this(), "OMP_NUM_THREADS": str(threads)}
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

    def _run(
        self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes], cores: Sequence[int] | None
    ) -> int:
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
        """End what runs; nothing is started after."""
        self._stopped = True
        for process in list(self._running):
            process.terminate()
