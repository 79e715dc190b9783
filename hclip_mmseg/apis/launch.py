"""What the scripts share: reading a config, choosing devices, ending in one clear line."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner

from .paths import locate, looked_in


def quieten_dependencies() -> None:
    """Hide the warnings that OpenMMLab's packages and torch give about their own calls."""
    for category in (UserWarning, FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(mm(cv|engine|seg|det)|torch|timm)\b")


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with one message and exit code 2 where an input is missing or wrong."""
    try:
        yield
    except (FileNotFoundError, ValueError, KeyError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"error: {text}", file=sys.stderr)
        raise SystemExit(2) from error


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that MMSeg's scripts have in common."""
    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="folder for logs and checkpoints (work_dirs/<config's name>)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="replace settings of the config; lists as key=a,b or key='[a,b]', nested key='[(a,b),(c,d)]'",
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def read_config(path: str | Path) -> Config:
    """The config in a file, looked for from the working directory, then from the project's folder.

    Raises:
        FileNotFoundError: if there is no such config.
    """
    found = locate(path)
    if found is None:
        raise FileNotFoundError(f"no config {path}: looked for at {looked_in(path)}")
    return Config.fromfile(found)


def load_config(args: argparse.Namespace) -> Config:
    """The config that the arguments describe.

    Raises:
        FileNotFoundError: if there is no such config.
        KeyError: if an option goes into a part that the config does not have.
    """
    cfg = read_config(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or str(Path("work_dirs") / Path(args.config).stem)
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return cfg


def distribute(cfg: Config) -> None:
    """Make several processes work without a GPU: gloo instead of NCCL, and no device ids.

    MMEngine's own start-up selects a CUDA device whatever the backend, so the group is made here.
    """
    if cfg.launcher != "pytorch" or torch.cuda.is_available():
        return
    torch.distributed.init_process_group("gloo")
    cfg.setdefault("env_cfg", {})["dist_cfg"] = dict(backend="gloo")
    wrapper = dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get("model_wrapper_cfg") or {}), "device_ids": None}


def build_trainer(cfg: Config) -> Runner | FlexibleRunner:
    """The runner that a config asks for by ``runner_type``, MMEngine's plain one by default.

    Raises:
        ValueError: if the config shares the model among processes, and this one has no others.
    """
    if "runner_type" not in cfg:
        return Runner.from_cfg(cfg)
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


def use_mixed_precision(cfg: Config) -> None:
    """Train in bf16 on CPUs and on GPUs that have it, in fp16 with loss scaling on other GPUs.

    Raises:
        ValueError: if the config already has an optimizer wrapper of its own kind.
    """
    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    if kind in ("AmpOptimWrapper", "BF16OptimWrapper"):
        return
    if kind != "OptimWrapper":
        raise ValueError(f"--amp works with optim_wrapper.type 'OptimWrapper', and the config has '{kind}'")
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        cfg.optim_wrapper.update(type="AmpOptimWrapper", dtype="float16", loss_scale="dynamic")
    else:
        cfg.optim_wrapper.type = "BF16OptimWrapper"
