"""Processes that tests start: the scripts of tools/, as a person or torchrun would run them.

They are forked from the test's own process, which spares each the imports. CUDA does not survive a fork, nor does
autograd with its threads for GPUs, so where there is a GPU they are started anew; they do not see it, and compute alike
on every machine.
"""

from __future__ import annotations

import gc
import os
import pickle
import runpy
import signal
import site
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

PATIENCE = 600
"""Seconds after which a process that has not ended is killed."""
TAKE_OVER = "import pickle, sys; pickle.load(sys.stdin.buffer)()"
REPOSITORY = Path(__file__).resolve().parents[1]


class Forked:
    """A copy of this process, leader of a session of its own, that runs a function and ends.

    Args:
        work: what it does; its exit code is 0 after it returns, that of SystemExit, or 1 after any other exception.
        log: the file that its output goes to.
        errors: the file for its errors; None: the same.
        cwd: its folder; None: this process's.
    """

    def __init__(
        self, work: Callable[[], object], log: Path, errors: Path | None = None, cwd: Path | None = None
    ) -> None:
        self.log, self.errors = log, errors or log
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            code = 1
            try:
                self._begin(cwd)
                work()
                code = 0
            except SystemExit as ended:
                code = _exit_code(ended)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)

    def _begin(self, cwd: Path | None) -> None:
        gc.freeze()  # to look at the objects of the process before would copy all of its memory
        os.setsid()
        torch.set_num_threads(1)  # a forked process has not the threads of the one before
        for number, path in ((1, self.log), (2, self.errors)):
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        if cwd is not None:
            os.chdir(cwd)

    def poll(self) -> int | None:
        """The exit code, as `subprocess.Popen` gives it, or None before the end."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        """The exit code, when it has ended; all of its session is killed if that takes more than `PATIENCE`."""
        end = monotonic() + PATIENCE
        while self.poll() is None:
            if monotonic() > end:
                os.killpg(self.pid, signal.SIGKILL)
            sleep(0.02)
        return self.returncode


class Anew(Forked):
    """A fresh process in its place, for work that can be pickled."""

    def __init__(
        self, work: Callable[[], object], log: Path, errors: Path | None = None, cwd: Path | None = None
    ) -> None:
        self.log, self.errors = log, errors or log
        self.returncode = None
        folders = [REPOSITORY, REPOSITORY / "tools", *{path.parent for path in (REPOSITORY / "tests").rglob("*.py")}]
        with self.log.open("a") as output, self.errors.open("a") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-c", TAKE_OVER], stdin=subprocess.PIPE, stdout=output, stderr=printed, cwd=cwd,
                env={**without_gpu(*folders), "PYTHONUNBUFFERED": "1"}, start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid
        with self._process.stdin as given:
            given.write(pickle.dumps(work))

    def poll(self) -> int | None:
        self.returncode = self._process.poll()
        return self.returncode


def start(work: Callable[[], object], log: Path, errors: Path | None = None, cwd: Path | None = None) -> Forked:
    """Let another process do what can be pickled and needs no GPU, a training for example; see `Forked`."""
    return (Anew if torch.cuda.is_available() else Forked)(work, log, errors, cwd)


def without_gpu(*folders: Path) -> dict[str, str]:
    """The environment of a fresh process, which finds modules in some folders before all others."""
    found = os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": found, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def _exit_code(ended: SystemExit) -> int:
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    print(ended.code, file=sys.stderr)
    return 1


def run_script(
    *arguments: object, cwd: Path, options: tuple[str, ...] = (), modules: Path | None = None, fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a script of the repository as a person would, from any folder.

    Args:
        arguments: its path, and what follows.
        cwd: the folder.
        options: of Python, before the script's path; they take a fresh process.
        modules: folder of modules that it finds.
        fresh: whether it is the imports too that are tested.
    """
    command = [*map(str, arguments)]
    if not (fresh or options or torch.cuda.is_available()):
        with TemporaryDirectory() as folder:
            log, errors = Path(folder) / "log", Path(folder) / "errors"
            code = Forked(lambda: run_as_main(command, modules), log, errors, cwd).wait()
            return subprocess.CompletedProcess(command, code, log.read_text(), errors.read_text())
    return subprocess.run(
        [sys.executable, *options, *command], cwd=cwd, env=without_gpu(*filter(None, [modules])), capture_output=True,
        text=True, timeout=PATIENCE,
    )  # fmt: skip


def run_as_main(command: Sequence[str], modules: Path | None = None) -> None:
    """Run a script in this process, which is as good as its own from then on."""
    sys.argv = [*command]
    if modules is not None:
        site.addsitedir(str(modules))
    runpy.run_path(command[0], run_name="__main__")


def torchrun(processes: int, script: Path, *arguments: object, cwd: Path, modules: Path | None = None) -> None:
    """Run a script of the repository as torchrun does.

    Args:
        processes: how many.
        script, arguments: its path, and what follows.
        cwd: their folder.
        modules: folder of modules that they find.

    Raises:
        ChildFailedError: if one of the processes fails.
    """
    if torch.cuda.is_available():
        launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}")
        ended = run_script(script, *arguments, "--launcher", "pytorch", cwd=cwd, options=launcher, modules=modules)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return
    settings = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id=cwd.name, rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", start_method="fork", max_restarts=0,
    )  # fmt: skip
    elastic_launch(settings, _run_rank)([str(script), *map(str, arguments), "--launcher", "pytorch"], cwd, modules)


def _run_rank(command: Sequence[str], cwd: Path, modules: Path | None) -> None:
    gc.freeze()
    torch.set_num_threads(1)  # a forked process has not the threads of the one before
    os.chdir(cwd)
    run_as_main(command, modules)
