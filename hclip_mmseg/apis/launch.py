"""What the scripts share: reading a config, choosing devices, ending in one clear line."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner
from torch.optim import Optimizer

from hclip_mmseg.apis.repeatable import refusal
from hclip_mmseg.apis.settings import explained, merge_settings, read_settings
from hclip_mmseg.compat import quiet_imports
from hclip_mmseg.engine.memory import keep_freed_memory
from hclip_mmseg.engine.setup_log import ShortLogRunner
from hclip_mmseg.engine.threads import fit_threads
from hclip_mmseg.files.errors import FullDiskError, InputError, full_disk_line, lack_of_space, line_of
from hclip_mmseg.files.near_names import did_you_mean
from hclip_mmseg.files.paths import check_path, configs_folder, locate, looked_in
from hclip_mmseg.files.processes import end_with_parent, is_bound
from hclip_mmseg.files.showing import printable

LAUNCHERS = {
    "pytorch": ("RANK", "torchrun (tools/dist_train.sh)"),
    "slurm": ("SLURM_PROCID", "Slurm's srun"),
    "mpi": ("OMPI_COMM_WORLD_LOCAL_RANK", "Open MPI's mpirun"),
}
"""Launcher -> a variable of the environment of its processes, and what it is called."""


def prepare_process() -> None:
    """Set up a process that runs a model: freed memory is kept for the next tensors, dependencies are quiet.

    Threads are no more than the cores that a container lets it use.

    One that an ablation has started ends with it.
    """
    if is_bound():
        end_with_parent()
    quieten_dependencies()
    keep_freed_memory()
    fit_threads()


def quieten_dependencies() -> None:
    """Hide the warnings that OpenMMLab's packages and torch give about their own calls."""
    for category in (UserWarning, FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(mm(cv|engine|seg|det)|torch|timm)\b")


@contextmanager
def clear_errors(folder: str | Path | None = None) -> Iterator[None]:
    """End the program with one message and exit code 2 where an input is missing or wrong, or a disk is full.

    Args:
        folder: that is written to, for the message, where the operating system names no file.
    """
    try:
        yield
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, TypeError) and not any(part in str(error) for part in ("argument", " should be ")):
            raise  # of no unknown setting of a config, and no setting of another kind
        print(printable(f"error: {explained(line_of(error))}"), file=sys.stderr)
        raise SystemExit(2) from error
    except OSError as error:
        if error.strerror is None or isinstance(error, BrokenPipeError):  # of no file
            raise
        said = file_line(error)
        if lack_of_space(error):
            said = full_disk_line(error.filename or folder or "the output", error)
        print(printable(f"error: {said}"), file=sys.stderr)
        raise SystemExit(2) from error


@contextmanager
def run_errors(folder: str | Path | None = None, kept: Callable[[], str] = str) -> Iterator[None]:
    """End a run as `clear_errors` does where data, names or files that it meets are wrong, or it cannot be repeatable.

    Other errors keep their traceback.

    Args:
        folder: of the run, whose disk is named where it is full.
        kept: says what the run has kept, to end the line with; nothing by default.
    """
    try:
        yield
    except Exception as error:
        full = lack_of_space(error)
        if isinstance(error, InputError):
            said = line_of(error)
        elif full is not None:
            said = full_disk_line(full.filename or folder or "the output", full)
        elif isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)):
            said = file_line(error)
        elif refused := refusal(error):
            said = refused
        else:
            raise
        print(printable("; ".join(filter(None, [f"error: {said}", kept()]))), file=sys.stderr)
        raise SystemExit(2) from error


def file_line(error: OSError) -> str:
    """What the operating system refused, and of which file."""
    if error.strerror is None or error.filename is None:
        return line_of(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror}"


def usable_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def interrupt_on_termination() -> None:
    """Lets SIGTERM end this process as Ctrl-C does, so that what it has begun is ended or kept as then."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def read_config(path: str | Path, parts: Sequence[str] = ()) -> Config:
    """The config in a file, looked for from the working directory, then from the project's folder.

    Args:
        path: of the file.
        parts: what it must have, such as 'model'.

    Raises:
        FileNotFoundError: if there is no such config, or one that it is built on is missing.
        ValueError: if it is no config, imports what is not there, or lacks a part.
    """
    check_path(path, "give a config, or a name that hclip-models lists")
    found = locate(path)
    if found is None or found.is_dir():
        raise FileNotFoundError(f"no config {path}: looked for at {looked_in(path)}{_near_config(path)}")
    try:
        with quiet_imports():  # of what the config itself imports
            cfg = Config.fromfile(found)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the config {found} is built on {error.filename}, which is missing") from error
    except SyntaxError as error:
        raise ValueError(f"the config {found} is no Python: {error.msg}, line {error.lineno}") from error
    except ImportError as error:
        raise ValueError(f"the config {found} imports what cannot be imported: {error}") from error
    except OSError as error:  # of another kind of file, or MMEngine's copy of it cannot be written
        if lack_of_space(error):
            raise FullDiskError(full_disk_line(tempfile.gettempdir(), error)) from error
        raise ValueError(f"{found} is no config: {error}") from error
    for part in parts:
        if part not in cfg:
            raise ValueError(f"the config {found} has no '{part}'")
    return cfg


def _near_config(path: str | Path) -> str:
    """The project's config whose name is much like that of a path, as a message says it."""
    folder = configs_folder()
    configs = [config.relative_to(folder.parent) for config in sorted(folder.glob("*/*.py"))]
    names = {f"{config.parent.name}/{config.stem}": config.as_posix() for config in configs}
    return did_you_mean(f"{Path(path).parent.name}/{Path(path).stem}", names, say=names.__getitem__)


def load_config(
    config: str | Path | Config,
    settings: Sequence[str] = (),
    work_dir: str | None = None,
    launcher: str = "none",
    local_rank: int = 0,
) -> Config:
    """The config of a run that is started from the command line.

    Args:
        config: path of its file, or the config read from one; changed in place then.
        settings: texts ``KEY=VALUE`` that replace what it says.
        work_dir: folder for logs and checkpoints; None: the config's, else `default_work_dir`.
        launcher: what started the processes: 'none', 'pytorch', 'slurm' or 'mpi'.
        local_rank: of this process on its machine, where the launcher has not set LOCAL_RANK.

    Raises:
        FileNotFoundError, ValueError, KeyError: see `read_config` and `merge_settings`, or if the work directory cannot
            be one.
    """
    cfg = config if isinstance(config, Config) else read_config(config, ["model"])
    merge_settings(cfg, read_settings(settings))
    check_launcher(launcher)
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get("work_dir") or str(default_work_dir(cfg.filename))
    check_writable(cfg.work_dir, "--work-dir")
    os.environ.setdefault("LOCAL_RANK", str(local_rank))
    return cfg


def check_launcher(launcher: str) -> None:
    """Check that what is said to have started this process did.

    Raises:
        ValueError: if it left no trace in the environment.
    """
    trace, how = LAUNCHERS.get(launcher, (None, ""))
    if trace is not None and trace not in os.environ:
        raise ValueError(
            f"--launcher {launcher}: this process was not started by {how}, which sets {trace}; for one process "
            "leave --launcher out"
        )


def default_work_dir(config: str | Path) -> Path:
    """The folder of a config's runs where none is given.

    Args:
        config: path of the config.

    Returns:
        ``work_dirs/<folder>/<name>`` for ``configs/<folder>/<name>.py``, since several methods have configs of one
        name; ``work_dirs/<name>`` for H-CLIP's own, in ``configs/hclip/``, and for configs elsewhere.
    """
    path = (locate(config) or Path(config)).absolute()
    method = path.parent.name if path.parent.parent.name == "configs" else "hclip"
    return Path("work_dirs") / ("" if method == "hclip" else method) / path.stem


def check_writable(folder: str | Path, option: str) -> None:
    """Check that results can be written into a folder, which may have to be made.

    Args:
        folder: its path.
        option: of the command line, for the message.

    Raises:
        ValueError: if it is a file, lies in one, or is closed to this user.
    """
    path = Path(folder).absolute()
    existing = next(place for place in (path, *path.parents) if place.exists())
    if not existing.is_dir():
        raise ValueError(f"{option} {folder}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"{option} {folder}: {existing} cannot be written to")


def choose_device(name: str = "auto") -> torch.device:
    """The device of a name; 'auto' is a GPU where there is one.

    Raises:
        ValueError: if there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"no device '{name}': use cpu, cuda, cuda:1 ... or auto") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"no device '{name}': torch sees {torch.cuda.device_count()} GPUs here; use cpu or auto")
    return device


def distribute(cfg: Config) -> None:
    """Make several processes work without a GPU: gloo instead of NCCL, and no device ids.

    MMEngine's own start-up selects a CUDA device whatever the backend, so the group is made here.

    Raises:
        ValueError: if there are fewer GPUs than processes on this machine, each of which takes one for itself.
    """
    if cfg.launcher != "pytorch":
        return
    if torch.cuda.is_available():
        processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), torch.cuda.device_count()
        if processes > gpus:
            raise ValueError(
                f"{processes} processes on this machine, which shows {gpus} GPUs: each takes a GPU for itself; start "
                f"{gpus}, or set CUDA_VISIBLE_DEVICES= to nothing, and all compute on the CPU"
            )
        return
    torch.distributed.init_process_group("gloo")
    cfg.setdefault("env_cfg", {})["dist_cfg"] = dict(backend="gloo")
    wrapper = dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get("model_wrapper_cfg") or {}), "device_ids": None}


def pin_batches(cfg: Config) -> None:
    """Let batches for a GPU be loaded into page-locked memory, from which it copies them faster.

    Args:
        cfg: of a run; loaders that say ``pin_memory`` themselves stay as they are.
    """
    for split in ("train", "val", "test"):
        loader = cfg.get(f"{split}_dataloader")
        if torch.cuda.is_available() and isinstance(loader, dict):
            loader.setdefault("pin_memory", True)


def is_first_process(launcher: str) -> bool:
    """Whether no other process of this run, as torchrun, Slurm or MPI number them, comes before this one.

    Args:
        launcher: what started the processes; of 'none', each is a run of its own, whatever numbers a machine gives it.
    """
    if launcher == "none":
        return True
    ranks = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"))
    return next((int(rank) for rank in ranks if rank), 0) == 0


def build_trainer(cfg: Config) -> Runner | FlexibleRunner:
    """The runner that a config asks for by ``runner_type``, MMEngine's plain one, with a short log, by default.

    Raises:
        ValueError: if the config shares the model among processes, and this one has no others.
    """
    pin_batches(cfg)
    if "runner_type" not in cfg:
        return ShortLogRunner.from_cfg(cfg)
    strategy = (cfg.get("strategy") or {}).get("type")
    if strategy is not None and cfg.launcher == "none":
        raise ValueError(
            f"the config's strategy {strategy} shares the model among processes and this is one alone: start it with "
            "tools/dist_train.sh CONFIG NUMBER, or by torchrun with --launcher pytorch"
        )
    cfg.setdefault("env_cfg", {})
    return RUNNERS.build(cfg)


def read_data(runner: Runner | FlexibleRunner, *splits: str) -> None:
    """Builds a run's loops, and with them its data sets, whose files are met here for the first time.

    Args:
        runner: that will use them.
        splits: of 'train', 'val', 'test'.

    Raises:
        FileNotFoundError, ValueError, KeyError: as the data sets raise.
    """
    for split in splits:
        getattr(runner, f"{split}_loop")


def scale_rate(cfg: Config) -> None:
    """Let the learning rate grow with the batch: MMEngine's ``auto_scale_lr``, switched on.

    Raises:
        ValueError: if the config does not say which batch its rate is for.
    """
    settings = cfg.get("auto_scale_lr") or {}
    if not isinstance(settings.get("base_batch_size"), int):
        raise ValueError(
            "--auto-scale-lr needs the batch that the config's rate is for: add --cfg-options "
            "auto_scale_lr.base_batch_size=N, images of all processes together"
        )
    cfg.auto_scale_lr = {**settings, "enable": True}


def build_optimizer(runner: Runner | FlexibleRunner) -> None:
    """Build a run's optimizer and schedules, which MMEngine builds when it starts: wrong settings are met before.

    Raises:
        ValueError, KeyError, TypeError: as they raise.
    """
    if not isinstance(runner, Runner):
        return
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    for optimizer in optimizers_of(runner.optim_wrapper):  # MMEngine makes ConfigDicts, which torch.compile cannot take
        optimizer.param_groups[:] = [dict(group) for group in optimizer.param_groups]
    scales_rate = (runner.auto_scale_lr or {}).get("enable")  # which has to come before the schedules
    if runner.param_schedulers and not scales_rate:
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)


def optimizers_of(wrapper: OptimWrapper | OptimWrapperDict) -> list[Optimizer]:
    """The optimizers inside MMEngine's wrapper: one, or several by name."""
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return [each.optimizer for each in wrappers]
