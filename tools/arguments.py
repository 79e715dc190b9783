"""What the commands share: arguments, and how they end. Imports nothing that takes time: --help answers at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, TypeVar

Ending = TypeVar("Ending")
INTERRUPTED, NO_READER = 130, 141
"""Exit codes of a command that Ctrl-C ended, and of one whose output nobody reads any more; as shells give them."""


def command(
    parse: Callable[[Sequence[str] | None], argparse.Namespace],
) -> Callable[[Callable[[argparse.Namespace], Ending]], Callable[[Sequence[str] | None], Ending]]:
    """Make a command's ``main(argv)`` of a function of its parsed arguments.

    It ends in one line on Ctrl-C, and silently where the reader of its output is gone.
    """

    def of_arguments(main: Callable[[argparse.Namespace], Ending]) -> Callable[[Sequence[str] | None], Ending]:
        def ended(argv: Sequence[str] | None = None) -> Ending:
            try:
                result = main(parse(argv))
                sys.stdout.flush()
                return result
            except KeyboardInterrupt:
                print("stopped; what was finished before is kept", file=sys.stderr)
                raise SystemExit(INTERRUPTED) from None
            except BrokenPipeError:  # such as `| head`; Python would complain again when it closes its output
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise SystemExit(NO_READER) from None

        return ended

    return of_arguments


class SettingAction(argparse.Action):
    """Collects settings ``KEY=VALUE ...``, whose values ``hclip_mmseg.apis.settings.read_settings`` reads."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """See ``argparse.Action``."""
        for value in values or ():
            if "=" not in value:
                parser.error(f"{option_string} takes settings KEY=VALUE, not '{value}'")
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), *(values or ())])


def chosen(args: argparse.Namespace, taker: Callable[..., Any]) -> dict[str, Any]:
    """Those of the arguments that a function or a dataclass takes, under the names that it has for them."""
    return {name: value for name, value in vars(args).items() if name in signature(taker).parameters}


def add_settings(parser: argparse.ArgumentParser, help: str) -> None:
    """Add ``--cfg-options KEY=VALUE ...``: a list of such texts, empty where none is given."""
    parser.add_argument("--cfg-options", nargs="+", action=SettingAction, default=[], metavar="KEY=VALUE", help=help)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that MMSegmentation's own train and test scripts have."""
    add = parser.add_argument
    add("config", help="config file")
    add("--work-dir", help="the run's folder (work_dirs/<method>/<config>; H-CLIP: work_dirs/<config>)")
    add_settings(parser, "replace settings of the config; lists as key=a,b or key='[a,b]', nested key='[(a,b),(c,d)]'")
    add("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    add("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, 'auto' where none is given."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (a GPU where there is one)")


def add_amp(parser: argparse.ArgumentParser) -> None:
    """Add ``--amp`` of predictions."""
    parser.add_argument(
        "--amp", action="store_true", help="predict in bfloat16, where the GPU or the CPU (AVX512-BF16, AMX) has it"
    )


def add_offline(parser: argparse.ArgumentParser) -> None:
    """Add ``--offline``."""
    parser.add_argument(
        "--offline", action="store_true", help="use no network: of a model's name, take the weights that are here"
    )


def add_resize(parser: argparse.ArgumentParser) -> None:
    """Add ``--resize published|direct``."""
    parser.add_argument(
        "--resize",
        choices=["published", "direct"],
        default="published",
        help="how images reach the model: published (the default, since figures are compared with the papers'): "
        "resized by Pillow first as the papers' code does, shorter side 640 for H-CLIP and CAT-Seg; direct: as they "
        "are, one resampling less, other scores (docs/cat_seg.md); segmentors only",
    )


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Add what competes with the class names, and when a pixel has none of them."""
    add = parser.add_argument
    add("--background", metavar="NAMES", help="names that compete and are called background together")
    add("--negatives", metavar="NAMES", help="names that compete and are not reported")
    add("--other", action="store_true", help="label pixels that no class name reaches 'other'")
    add(
        "--threshold",
        metavar="SCORE",
        help="least score of a pixel's class name, or of a box: a number from 0 to 1, or '0.3, cat=0.5' for some names",
    )
    add(
        "--merge",
        choices=["max", "mean"],
        help="compare all synonyms of a class (sofa, couch) and give it the best one's score, or their mean; without "
        "it segmentors compare the first, and mask classifiers take the best",
    )
    add(
        "--drop-absent",
        type=float,
        metavar="SCORE",
        help="leave out of each image the class names whose highest score in it is lower (RADSeg takes 0.5)",
    )
