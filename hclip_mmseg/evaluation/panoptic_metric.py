"""Panoptic quality, with the classes that were seen in training and those that were not told apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mmdet.evaluation import CocoPanopticMetric
from mmseg.registry import METRICS

from hclip_mmseg.compat.panoptic_api import id2rgb
from hclip_mmseg.evaluation.seen_names import seen_in_training
from hclip_mmseg.files.writing import write_image
from hclip_mmseg.vocabularies import Names, read_names


@METRICS.register_module()
class OpenVocabPanopticMetric(CocoPanopticMetric):
    """MMDetection's PQ, SQ and RQ against the label maps that the samples come from.

    Labels are the dataset's. Samples need ``segments_info`` and ``seg_map_path`` in their meta information.

    Args:
        seen_classes: names that masks were shown for in training, as ``read_vocabulary`` takes them; see
            :func:`~hclip_mmseg.evaluation.seen_names.seen_in_training`. None: all but those that the dataset's metainfo
            lists under 'held_out'; where it lists none, PQ of seen and unseen classes is not given.
        kwargs: of ``CocoPanopticMetric``.
    """

    def __init__(self, seen_classes: Names | None = None, **kwargs: Any) -> None:
        super().__init__(ann_file=None, **kwargs)
        self.seen_classes = None if seen_classes is None else read_names(seen_classes, repeats=True)

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict[str, Any]]) -> None:
        """Adds the samples of one batch.

        Raises:
            ValueError: if there is no annotation, or the model gives no panoptic results.
        """
        for sample in data_samples:
            if "pred_panoptic_seg" not in sample:
                raise ValueError("the model gives no panoptic results: set model.test_cfg.panoptic=True")
            if not sample.get("seg_map_path"):
                raise ValueError(f"{sample.get('img_path', 'a sample')} has no panoptic label map to compare with")
            # MMDetection makes the label map's name from the image's, by replacing .jpg
            label_map = Path(sample["seg_map_path"])
            with TemporaryDirectory() as folder:
                if ".jpg" in label_map.name:
                    label_map = Path(copyfile(label_map, Path(folder) / label_map.name.replace(".jpg", "")))
                self.seg_prefix = str(label_map.parent)
                super().process(data_batch, [dict(sample, img_path=str(label_map))])

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """MMDetection's metrics in percent, and PQ_seen, PQ_unseen where the split is known."""
        metrics = super().compute_metrics(results)
        seen = self._seen()
        if seen is None or self.tmp_dir is None:
            return metrics
        total = type(results[0])()
        for result in results:
            total += result
        for key, wanted in (("PQ_seen", True), ("PQ_unseen", False)):
            chosen = {label: self.categories[label] for label, known in enumerate(seen) if known == wanted}
            metrics[key] = 100 * total.pq_average(chosen, isthing=None)[0]["pq"]
        return metrics

    def _seen(self) -> list[bool] | None:
        """For each class, or None where it is not known which were seen."""
        classes = self.dataset_meta["classes"]
        if self.seen_classes is not None:
            return seen_in_training(self.dataset_meta.get("vocabulary", classes), self.seen_classes).tolist()
        held_out = self.dataset_meta.get("held_out", ())
        return [name not in held_out for name in classes] if held_out else None


@METRICS.register_module()
class ScenePanopticMetric(OpenVocabPanopticMetric):
    """Panoptic quality on rendered scenes, of which there are no files: the pixels of a label are a segment."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.truth = TemporaryDirectory()

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict[str, Any]]) -> None:
        """Adds the samples of one batch; see :class:`OpenVocabPanopticMetric`."""
        classes, things = self.dataset_meta["classes"], self.dataset_meta["thing_classes"]
        described = []
        for sample in data_samples:
            labels = sample["gt_sem_seg"]["data"][0].cpu().numpy().astype(np.int32)
            named = labels < len(classes)
            path = Path(self.truth.name) / Path(sample["img_path"]).name
            write_image(path, id2rgb(np.where(named, labels + 1, 0)))
            segments = [
                dict(id=label + 1, category=label, is_thing=classes[label] in things)
                for label in np.unique(labels[named]).tolist()
            ]
            described.append(dict(sample, img_id=path.stem, seg_map_path=str(path), segments_info=segments))
        super().process(data_batch, described)
