"""MMSeg's visualizer, drawing the words that a result was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import master_only
from mmengine.structures import PixelData
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample
from mmseg.utils import get_classes
from mmseg.visualization import SegLocalVisualizer
from numpy.typing import NDArray
from torch import Tensor

from hclip_mmseg.files.writing import write_image
from hclip_mmseg.visualization.image_backends import ImageBackends
from hclip_mmseg.visualization.overlay import beside, draw_overlay


@VISUALIZERS.register_module()
class OpenVocabVisualizer(ImageBackends, SegLocalVisualizer):
    """Draws ground truth and prediction side by side, each with a legend.

    A prediction's labels are indices of the vocabulary it carries (metainfo `vocabulary`), which need not be
    the data set's classes. Ground truth, and predictions without a vocabulary, are named by the data set.

    Args:
        name: of the instance, by which MMEngine finds it again.
        alpha: weight of the class colours over the image, 0..1.
        classes, palette, dataset_name: see :meth:`set_dataset_meta`.
        **others: those of `SegLocalVisualizer`.
    """

    dataset_meta: dict[str, Any]

    def __init__(
        self,
        name: str = "visualizer",
        *,
        alpha: float = 0.55,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        dataset_name: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(name, alpha=alpha, **others)
        self._drawn: NDArray[np.uint8] | None = None
        self.set_dataset_meta(classes, palette, dataset_name)

    def set_dataset_meta(
        self,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        dataset_name: str | None = None,
    ) -> None:
        """Name the classes of ground truth, and of predictions that carry no vocabulary.

        Args:
            classes: their names; None: those of the data set.
            palette: taken as other visualizers take it; colours follow names here.
            dataset_name: one that MMSegmentation knows; None: nobody names the classes, where MMSegmentation would
                take those of Cityscapes.
        """
        names = classes or (get_classes(dataset_name) if dataset_name else ())
        self.dataset_meta = dict(classes=tuple(names), palette=palette) if names else {}

    @master_only
    def add_datasample(
        self,
        name: str,
        image: NDArray[np.uint8],
        data_sample: SegDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
        with_labels: bool = True,
        with_image: bool = False,
    ) -> None:
        """Draw one result; see `SegLocalVisualizer.add_datasample`.

        Args:
            name: what the visualizer's backends store the image under.
            image: RGB, [H, W, 3].
            data_sample: holds `gt_sem_seg` and `pred_sem_seg` of [1, H, W], either may be absent.
            draw_gt: whether to draw the ground truth.
            draw_pred: whether to draw the prediction.
            show: whether to open a window.
            wait_time: seconds for which the window stays.
            out_file: where to write the image; None gives it to the backends.
            step: the iteration that the backends note.
            with_labels: whether to add the legends.
            with_image: whether to put the plain image first.
        """
        images = [image] if with_image or data_sample is None else []
        if data_sample is not None:
            images += self.drawings(image, data_sample, draw_gt, draw_pred, with_labels)
        drawn = self._drawn = beside(*(images or [image]))
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is None:
            self.add_image(name, drawn, step)
        else:
            write_image(out_file, drawn)

    def get_image(self) -> NDArray[np.uint8]:
        """What was drawn last, RGB [H, W, 3]; MMSegmentation's inferencer returns it."""
        return super().get_image() if self._drawn is None else self._drawn

    def drawings(
        self, image: NDArray[np.uint8], sample: SegDataSample, draw_gt: bool, draw_pred: bool, legend: bool
    ) -> list[NDArray[np.uint8]]:
        """Ground truth and prediction, what is there of them, over the image."""
        classes = self.dataset_meta.get("classes") or ()
        words = sample.metainfo.get("vocabulary") or classes
        found = []
        if draw_gt and "gt_sem_seg" in sample:
            found.append(self._draw(image, sample.gt_sem_seg, classes, legend, "ground truth"))
        if draw_pred and "pred_sem_seg" in sample:
            found.append(self._draw(image, sample.pred_sem_seg, words, legend, "prediction"))
        return found

    def _draw(
        self, image: NDArray[np.uint8], labels: PixelData, names: tuple[str, ...], legend: bool, title: str
    ) -> NDArray[np.uint8]:
        if not names:
            raise ValueError(f"the {title} cannot be drawn: neither result nor data set names its classes")
        label_map = as_array(labels.data[0]).astype(np.int64)
        return draw_overlay(image, label_map, names, alpha=self.alpha, legend=legend, title=title)


def as_array(values: Tensor | NDArray[Any]) -> NDArray[Any]:
    """Values of a sample, which may have been made numpy's, as MMSegmentation's browse_dataset.py makes them."""
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
