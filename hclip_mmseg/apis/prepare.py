"""Preparing a data set from the command line: progress, and what is said when it is interrupted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hclip_mmseg.datasets.preparation.processes import Advance, Options
from hclip_mmseg.datasets.preparation.registry import PREPARATIONS, find_preparation
from hclip_mmseg.engine.threads import core_count, processor_quota
from hclip_mmseg.files.errors import WriteError


def list_preparations() -> str:
    """Every data set that can be prepared, with what must lie in its folder before."""
    return "\n".join(f"{name:16} {preparation.layout}" for name, preparation in PREPARATIONS.items())


def prepare_dataset(
    name: str, root: str | Path, *, check: bool = False, partial: bool = False, jobs: int | None = None
) -> None:
    """Make what the configs read from what a data set's owners distribute; prints what was done.

    Args:
        name: of the data set, see `list_preparations`, or of a benchmark.
        root: the data set's folder.
        check: write nothing; read every label map and verify it.
        partial: take a part of the data set for the whole.
        jobs: processes at once; None: one for each core.

    Raises:
        FileNotFoundError, ValueError, KeyError: if there is no such data set or folder, or its files are wrong.
        SystemExit: with code 130 if the user interrupts it.
    """
    jobs = core_count(processor_quota()) if jobs is None else jobs
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1, not {jobs}")
    preparation = find_preparation(name)
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root.absolute()}")
    options = Options(check, partial, jobs, progress_bar)
    try:
        print("\n".join(preparation.run(root, options)))
    except KeyboardInterrupt:
        print("interrupted; what is made stays, and the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None
    except (WriteError, OSError) as error:  # a full disk, a folder that cannot be written
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{error}; what is made stays, and the same command goes on from there") from error


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Advance]:
    """A bar on stderr; gives what moves it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
