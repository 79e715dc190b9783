"""The arguments that several commands share. Imports nothing that takes time, so that --help answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class SettingAction(argparse.Action):
    """Collects settings ``KEY=VALUE ...``, whose values ``hclip_mmseg.apis.launch.read_settings`` reads."""

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


def add_settings(parser: argparse.ArgumentParser, help: str) -> None:
    """Add ``--cfg-options KEY=VALUE ...``: a list of such texts, empty where none is given."""
    parser.add_argument("--cfg-options", nargs="+", action=SettingAction, default=[], metavar="KEY=VALUE", help=help)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that MMSegmentation's own train and test scripts have."""
    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="the run's folder (work_dirs/<method>/<config>; H-CLIP: work_dirs/<config>)")
    add_settings(
        parser, "replace settings of the config; lists as key=a,b or key='[a,b]', nested key='[(a,b),(c,d)]'"
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, 'auto' where none is given."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (a GPU where there is one)")
