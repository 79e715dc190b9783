"""MMDetection's visualizer, drawing the words that a result was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.dist import master_only
from numpy.typing import NDArray

from hclip_mmseg.visualization.colours import name_colours
from hclip_mmseg.visualization.image_backends import ImageBackends


@VISUALIZERS.register_module()
class OpenVocabDetVisualizer(ImageBackends, DetLocalVisualizer):
    """Draws boxes with the vocabulary that a result carries (metainfo ``vocabulary``), else with the data set's names.

    Args:
        name: of the instance, by which MMEngine finds it again.
        score_threshold: boxes with lower scores are left out.
        kwargs: of ``DetLocalVisualizer``.
    """

    def __init__(self, name: str = "visualizer", *, score_threshold: float = 0.3, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.score_threshold = score_threshold

    @master_only
    def add_datasample(
        self,
        name: str,
        image: NDArray[np.uint8],
        data_sample: DetDataSample | None = None,
        **kwargs: Any,
    ) -> None:
        """Draws one result over an RGB image [H, W, 3]; see ``DetLocalVisualizer.add_datasample``."""
        words = () if data_sample is None else data_sample.metainfo.get("vocabulary", ())
        if words:
            self.dataset_meta = dict(classes=words, palette=[tuple(c) for c in name_colours(words).tolist()])
        kwargs.setdefault("pred_score_thr", self.score_threshold)
        super().add_datasample(name, image, data_sample, **kwargs)
