"""Prepare a data set: python tools/prepare_dataset.py NAME --root DIR [--check]."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hclip_mmseg.apis import launch
from hclip_mmseg.datasets.preparation.processes import Advance, Options
from hclip_mmseg.datasets.preparation.registry import PREPARATIONS, find_preparation


def parse_arguments() -> argparse.Namespace:
    listed = "\n".join(f"  {one.name:16} {one.layout}" for one in PREPARATIONS.values())
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make what the configs read from what a data set's owners distribute. Label maps that are there "
        "already stay;\nso an interrupted preparation goes on where it stopped.\n\nNAME is one of the following, each "
        f"with what must lie in DIR, or the name of a benchmark, such as A-847:\n{listed}",
    )
    parser.add_argument("name", metavar="NAME", help="see above")
    parser.add_argument("--root", metavar="DIR", required=True, help="the data set's folder")
    parser.add_argument("--check", action="store_true", help="write nothing; read every label map and verify it")
    parser.add_argument("--partial", action="store_true", help="take a part of the data set for the whole")
    cores = len(launch.usable_cores())
    parser.add_argument("--jobs", type=int, metavar="N", default=cores, help="processes at once (all cores)")
    return parser.parse_args()


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Advance]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


def main() -> None:
    args = parse_arguments()
    launch.interrupt_on_termination()
    with launch.clear_errors():
        if args.jobs < 1:
            raise ValueError(f"--jobs must be at least 1, not {args.jobs}")
        preparation = find_preparation(args.name)
        root = Path(args.root)
        if not root.is_dir():
            raise FileNotFoundError(f"no folder {root.absolute()}")
        options = Options(args.check, args.partial, args.jobs, progress_bar)
        try:
            print("\n".join(preparation.run(root, options)))
        except KeyboardInterrupt:
            print("interrupted; what is made stays, and the same command goes on from there", file=sys.stderr)
            raise SystemExit(130) from None
        except OSError as error:  # a full disk, a folder that cannot be written
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"{error}; what is made stays, and the same command goes on from there") from error


if __name__ == "__main__":
    main()
