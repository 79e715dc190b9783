"""What the commands share: arguments, and how they end. Imports nothing that takes time: --help answers at once."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from inspect import signature
from itertools import takewhile
from runpy import run_path
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


class Parser(argparse.ArgumentParser):
    """Asks of an unknown option which was meant, before it complains of what is lacking instead."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See ``argparse.ArgumentParser``."""
        self._check_options(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def parse_known_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See ``argparse.ArgumentParser``."""
        self._check_options(sys.argv[1:] if args is None else args)
        return super().parse_known_intermixed_args(args, namespace)

    def _check_options(self, args: Sequence[str]) -> None:
        known = self._option_string_actions  # argparse has no public list of them
        for name in (text.partition("=")[0] for text in takewhile(lambda text: text != "--", args)):
            if re.match(r"--?[^\W\d]\S*$", name) and not any(option.startswith(name) for option in known):
                self.error(f"there is no option '{name}'{_did_you_mean(name, known) or '; --help lists them'}")


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    (package,) = find_spec("hclip_mmseg").submodule_search_locations  # type: ignore  # to import it takes seconds
    return run_path(f"{package}/files/near_names.py")["did_you_mean"](name, known)


def setting(text: str) -> str:
    """A setting ``KEY=VALUE`` as it is given; ``hclip_mmseg.apis.settings.read_settings`` reads its value."""
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"takes settings KEY=VALUE, not '{text}'")
    return text


def chosen(args: argparse.Namespace, taker: Callable[..., Any]) -> dict[str, Any]:
    """Those of the arguments that a function or a dataclass takes, under the names that it has for them."""
    return {name: value for name, value in vars(args).items() if name in signature(taker).parameters}


def add_settings(parser: argparse.ArgumentParser, help: str) -> None:
    """Add ``--cfg-options KEY=VALUE ...``: a list of such texts, empty where none is given."""
    several: dict[str, Any] = dict(nargs="+", action="extend", default=[])
    parser.add_argument("--cfg-options", type=setting, metavar="KEY=VALUE", help=help, **several)


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
