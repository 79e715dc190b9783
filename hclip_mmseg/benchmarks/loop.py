"""The loop that evaluates one model on several benchmarks."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, get_world_size, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import LOOPS

from hclip_mmseg.apis.record import versions
from hclip_mmseg.benchmarks.report import Report, plain_metrics
from hclip_mmseg.benchmarks.results import Results
from hclip_mmseg.evaluation import OpenVocabIoUMetric
from hclip_mmseg.visualization import LabelMapHook, OpenVocabVisualizationHook


@LOOPS.register_module()
class BenchmarkLoop(BaseLoop):
    """Evaluates the runner's model on one benchmark after the other.

    Each has its own data loader, evaluator and class metadata, as if it were the only test set of the run, and a
    ``VocabularyHook`` gives the model its names. After each the results are written; those that the file holds already
    are not measured again, unless label maps or images are wanted that were not written. In the end the table of all
    is printed.

    Args:
        runner: of the model.
        dataloader, evaluator: not used: each benchmark brings its own.
        benchmarks: each with ``name``, ``dataloader``, ``evaluator``, ``scope`` (of its registries), ``settings`` (what
            its result depends on).
        results: the JSON file of the results.
        about: what they belong to; see :class:`~hclip_mmseg.benchmarks.results.Results`.
        training_names: classes that the model met in training; None where that is not known.
        folders: where the run's hooks write label maps and images.
        loop: settings of the loop that evaluates one of them, MMEngine's ``TestLoop`` by default.

    Raises:
        ValueError: if the file holds results of another model.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Any = None,
        evaluator: Any = None,
        *,
        benchmarks: Sequence[Mapping[str, Any]],
        results: str | Path,
        about: Mapping[str, Any],
        training_names: Sequence[str] | None = None,
        folders: Sequence[str] = (),
        loop: Mapping[str, Any] | None = None,
    ) -> None:
        self._runner = runner
        self.benchmarks = {benchmark["name"]: benchmark for benchmark in benchmarks}
        self.results = Results(results)
        self.results.go_on_with(about, {name: one["settings"] for name, one in self.benchmarks.items()})
        self.training_names = training_names
        self.folders = folders
        self.loop = {"type": "TestLoop", **(loop or {})}
        self.current: Any = None
        self._label_map_folders = {hook: hook.folder for hook in runner.hooks if isinstance(hook, LabelMapHook)}

    @property
    def dataloader(self) -> Any:
        """Of the benchmark at hand."""
        return self.current.dataloader

    @property
    def evaluator(self) -> Evaluator:
        """Of the benchmark at hand."""
        return self.current.evaluator

    def run(self) -> dict[str, float]:
        """Evaluates those that remain; returns their metrics as 'A-847/mIoU'."""
        remaining = [self.results.remaining(list(self.benchmarks), self.folders)]
        broadcast_object_list(remaining)  # other machines may not see the file
        kept = [name for name in self.benchmarks if name not in remaining[0]]
        if kept:
            self.runner.logger.info(f"Results of {', '.join(kept)} are there already: {self.results.path}")
        self.results.begin_run(
            command=sys.argv,
            seed=self.runner.seed,
            processes=get_world_size(),
            device=str(next(self.runner.model.parameters()).device),
            versions=versions(),
        )
        metrics: dict[str, float] = {}
        for place, name in enumerate(remaining[0], 1):
            self.runner.logger.info(f"Benchmark {place} of {len(remaining[0])}: {name}")
            found = self._evaluate(name)
            metrics |= {f"{name}/{metric}": value for metric, value in found.items()}
        if is_main_process():
            Report(self.results, list(self.benchmarks)).show()
            self.runner.logger.info(f"Results: {', '.join(map(str, self._write()))}")
        return metrics

    def _evaluate(self, name: str) -> dict[str, Any]:
        settings, started = self.benchmarks[name], time.monotonic()
        self._begin(settings)
        metrics = self.current.run()
        if is_main_process():
            classes = [
                metric.class_results for metric in self.evaluator.metrics if isinstance(metric, OpenVocabIoUMetric)
            ]
            self.results.add(
                name,
                metrics=plain_metrics(metrics),
                classes=classes[0] if classes else [],
                images=len(self.dataloader.dataset),
                seconds=round(time.monotonic() - started, 1),
                settings=settings["settings"],
                folders=self.folders,
            )
            self._write()
        return metrics

    def _write(self) -> list[Path]:
        """The report on what is asked for now and whatever was measured before."""
        return Report(self.results, list({**self.benchmarks, **self.results.measured})).write()

    def _begin(self, settings: Mapping[str, Any]) -> None:
        """Builds the loop of one benchmark and tells whoever must know which it is."""
        self.current = None  # ends the workers of the one before
        scalars = self.runner.message_hub.log_scalars
        for stale in [key for key in scalars if key.startswith("test/")]:
            del scalars[stale]
        parts = dict(runner=self.runner, dataloader=settings["dataloader"], evaluator=settings["evaluator"])
        with DefaultScope.overwrite_default_scope(settings["scope"]):
            self.current = LOOPS.build(self.loop, default_args=parts)
        for metric in self.evaluator.metrics:
            # of mIoU and of PQ
            if getattr(metric, "seen_classes", ...) is None and not metric.dataset_meta.get("held_out"):
                metric.seen_classes = self.training_names
        for hook, folder in self._label_map_folders.items():
            hook.folder = folder / settings["name"]
        for hook in self.runner.hooks:
            if isinstance(hook, OpenVocabVisualizationHook):
                hook.prefix = f"{settings['name']}_"
