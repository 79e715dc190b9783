"""A file of results for every tested image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from hclip_mmseg.files.result_names import ResultNames


class ResultFilesHook(Hook):
    """Base of hooks that write ``<folder>/<image's name><ending>`` for every tested image; see `ResultNames`.

    Args:
        folder: where to; made if absent.
    """

    ending: str
    """Of the files' names."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._names = ResultNames()

    def write(self, path: Path, sample: Any, dataset: Any) -> None:
        """Write the results of a sample of a data set into a file."""
        raise NotImplementedError

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[BaseDataElement] | None = None,
    ) -> None:
        """Write the files of a batch."""
        dataset = runner.test_dataloader.dataset
        for sample in outputs or ():
            self.write(self.folder / f"{self._names.name(sample.img_path, dataset)}{self.ending}", sample, dataset)
