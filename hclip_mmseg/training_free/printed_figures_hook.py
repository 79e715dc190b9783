"""A paper's figures beside those that were measured."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from prettytable import PrettyTable

from hclip_mmseg.datasets.benchmarks import benchmark_of
from hclip_mmseg.evaluation.printed_figures import METRICS as PAPERS_METRICS
from hclip_mmseg.evaluation.printed_figures import measured_as, printed_figures


def name_in_results(style: str | None, metric: str) -> str:
    """The name that a metric of a paper has in the results of a test; see ``measured_as``."""
    return {"pAcc": "aAcc"}.get(metric, measured_as(style, metric))


METRICS = {metric: name_in_results("cliptrase", metric) for metric in PAPERS_METRICS}
"""Metric of CLIPtrase's paper -> the name in the results of a test of what its code computes."""


@HOOKS.register_module()
class PrintedFiguresHook(Hook):
    """Logs, after a test, the paper's figures of the test data, each beside the measured one.

    What is measured follows the published code of the config's ``benchmark_style``; see
    :func:`~hclip_mmseg.evaluation.printed_figures.measured_as`.
    The figures are those of the config's entry ``paper``; see
    :func:`~hclip_mmseg.evaluation.printed_figures.printed_figures`.

    Args:
        printed: metric -> figure in percent, for configs of earlier releases, which hold them here; None: ``paper``'s.
        row: which row of the paper that is; None: that of ``paper``.
    """

    priority = "LOW"

    def __init__(self, printed: Mapping[str, float] | None = None, row: str | None = None) -> None:
        self.printed, self.row = printed, row

    def after_test_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Logs the table, if the paper has figures of the test data."""
        paper = runner.cfg.get("paper") or {}
        printed = self.printed or self._figures(runner.cfg)
        if not printed:
            return
        measured = metrics or {}
        names = [name_in_results(runner.cfg.get("benchmark_style"), metric) for metric in printed]
        table = PrettyTable(["", *printed])
        table.add_row(["measured", *(measured.get(name, "-") for name in names)])
        table.add_row([f"printed ({self.row or paper.get('row', 'the paper')})", *printed.values()])
        rules = ", ".join(f"{metric} is {name}" for metric, name in zip(printed, names, strict=True) if metric != name)
        runner.logger.info(f"beside the paper's figures:\n{table.get_string()}" + (f"\n({rules})" if rules else ""))

    @staticmethod
    def _figures(cfg: Config) -> dict[str, float]:
        benchmark = benchmark_of(cfg.test_dataloader.dataset)
        own = None if benchmark is None else benchmark.name
        figures = printed_figures(cfg.get("paper"))
        return {metric: entry.figure for (name, metric), entry in figures.items() if name == own}
