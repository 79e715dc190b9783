"""A paper's figures beside those that were measured."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from prettytable import PrettyTable

METRICS = dict(pAcc="aAcc", mAcc="mAcc", fwIoU="fwIoU", mIoU="mIoU")
"""CLIPtrase's four metrics -> the names that they are measured under."""


@HOOKS.register_module()
class PrintedFiguresHook(Hook):
    """Logs the four metrics of CLIPtrase's tables after a test, each beside the paper's figure.

    Args:
        printed: metric of the paper, 'pAcc', 'mAcc', 'fwIoU' or 'mIoU', -> its figure in percent.
        row: which row of the paper that is.
    """

    priority = "LOW"

    def __init__(self, printed: Mapping[str, float], row: str) -> None:
        unknown = [name for name in printed if name not in METRICS]
        if unknown:
            raise ValueError(f"no metrics {', '.join(unknown)}; the paper prints {', '.join(METRICS)}")
        self.printed, self.row = dict(printed), row

    def after_test_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Logs the table."""
        measured = metrics or {}
        table = PrettyTable(["", *self.printed])
        table.add_row(["measured", *(measured.get(METRICS[name], "-") for name in self.printed)])
        table.add_row([f"printed ({self.row})", *self.printed.values()])
        runner.logger.info(f"beside the paper's figures:\n{table.get_string()}")
