"""A log that begins with the work: what MMEngine says about a run's set-up stands in a file of its own."""

from __future__ import annotations

import itertools
import logging
import re
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import VISUALIZERS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

LONGEST = 10
"""Lines that a message before the first iteration may have in the log."""
SETUP = re.compile(
    r"paramwise_options|is skipped since its requires_grad=False|is duplicate\. It is skipped|all SyncBatchNorm|"
    r"will be deprecated in future|The prefix is not set in metric class|OpenVocabIoUMetric got empty"
)
"""What is found in short messages that belong to the set-up too, whenever they come."""


class SetupLog(logging.Filter):
    """Writes messages about the set-up into a file instead of the log, until the work begins.

    Long messages that were asked for, logged with ``extra=dict(asked_for=True)``, stay in the log.

    Args:
        path: of the file.

    Attributes:
        path: as above.
        working: whether the work has begun; from then on long messages are the log's.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.working = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message stays in the log; one that does not is written to the file."""
        text = record.getMessage()
        long = not self.working and not getattr(record, "asked_for", False) and text.count("\n") >= LONGEST
        if record.levelno >= logging.ERROR or not (long or SETUP.search(text)):
            return True
        if is_main_process():
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        return False


class SetupLogHook(Hook):
    """Names the files of the set-up before the work begins, and ends its `SetupLog`."""

    priority = "VERY_HIGH"

    def __init__(self, log: SetupLog) -> None:
        self.log = log

    def before_run(self, runner: Runner) -> None:
        """Say where config and set-up stand, and how much is trained."""
        runner.logger.info(f"config: {Path(runner.work_dir) / config_name(runner)}")
        runner.logger.info(f"environment, hooks, initial weights, parameter groups: {self.log.path}")
        parameters = list(runner.model.parameters())
        trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        runner.logger.info(f"trained: {trained:,} of {sum(p.numel() for p in parameters):,} parameters")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The work begins."""
        self.log.working = True

    def before_val_epoch(self, runner: Runner) -> None:
        """The work begins."""
        self.log.working = True

    def before_test_epoch(self, runner: Runner) -> None:
        """The work begins."""
        self.log.working = True


def config_name(runner: Runner) -> str:
    """The file in the run's folder that MMEngine writes the whole config to."""
    return Path(runner.cfg.filename).name if runner.cfg.filename else f"{runner.timestamp}.py"


class ShortLogRunner(Runner):
    """MMEngine's runner whose log begins with the work, see `SetupLog`, and whose visualizer is its own."""

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """MMEngine's logger without the messages about the set-up."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        self.setup_log = SetupLog(Path(self._log_dir) / "setup.log")
        logger.addFilter(self.setup_log)
        return logger

    def register_hooks(self, *args: Any, **kwargs: Any) -> None:
        """Register the run's hooks, and the one that ends the set-up."""
        super().register_hooks(*args, **kwargs)
        self.register_hook(SetupLogHook(self.setup_log))

    def build_visualizer(self, visualizer: Visualizer | dict[str, Any] | None = None) -> Visualizer:
        """The visualizer of this run.

        MMEngine keeps visualizers by name for the whole process, and would give a second run the first one's folder.
        """
        if isinstance(visualizer, dict):
            kind, name = visualizer.get("type"), visualizer.get("name", self.experiment_name)
            if isinstance(kind, str):
                with VISUALIZERS.switch_scope_and_registry(None) as registry:
                    kind = registry.get(kind)
            if kind is not None:  # else the registry says what there is
                names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
                name = next(own for own in names if not kind.check_instance_created(own))
            visualizer = {**visualizer, "name": name}
        return super().build_visualizer(visualizer)
