"""Label maps as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from numpy.typing import NDArray

from hclip_mmseg.files.result_names import ResultNames
from hclip_mmseg.files.writing import write_image


def write_label_map(path: str | Path, labels: NDArray[np.integer], classes: int) -> None:
    """Write labels [H, W] as a grey PNG: of 8 bits up to 255 classes, where 255 is no class, else of 16."""
    kind = np.uint8 if classes <= 255 else np.uint16
    write_image(path, labels.astype(kind))


@HOOKS.register_module()
class LabelMapHook(Hook):
    """Writes the label map of every tested image to `<folder>/<image's name>.png`; see `name_results`.

    Args:
        folder: where to; made if absent.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._names = ResultNames()

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Write the maps of a batch."""
        for sample in outputs or ():
            dataset = runner.test_dataloader.dataset
            names = sample.metainfo.get("vocabulary") or dataset.metainfo["classes"]
            labels = sample.pred_sem_seg.data[0].cpu().numpy()
            write_label_map(self.folder / f"{self._names.name(sample.img_path, dataset)}.png", labels, len(names))
