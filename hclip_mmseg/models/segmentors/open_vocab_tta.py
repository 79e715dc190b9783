"""Augmentation in testing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from hclip_mmseg.vocabularies import Names
from hclip_mmseg.vocabularies.labels import label_of_no_class


@MODELS.register_module()
class OpenVocabTTAModel(SegTTAModel):
    """Any segmentor of this project around which images are looked at in several sizes and flipped.

    MMSegmentation's wrapper takes a head without a fixed number of classes for a binary one. Here the scores of a
    class are averaged over the views, and the best class wins. Names go to the model inside.

    Args:
        module: the model, or its config.
        kwargs: of ``SegTTAModel``.
    """

    def __init__(self, module: Any, **kwargs: Any) -> None:
        super().__init__(module=module, **kwargs)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names that the model looks for, in label order."""
        names: tuple[str, ...] = self.module.vocabulary
        return names

    def set_vocabulary(self, names: Names, templates: str | Sequence[str] | None = None) -> None:
        """Replace what the model looks for; see ``OpenVocabModel.set_vocabulary``."""
        self.module.set_vocabulary(names, templates)

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """One result an image, of the results of its views.

        Args:
            data_samples_list: of each image one result a view.

        Raises:
            ValueError: if a result holds no scores, which the model leaves out above its ``score_memory``.
        """
        return [self._merged(views) for views in data_samples_list]

    def _merged(self, views: Sequence[SegDataSample]) -> SegDataSample:
        if any("seg_logits" not in view for view in views):
            raise ValueError(
                f"the scores of {len(self.vocabulary)} names over {views[0].metainfo.get('img_path')} take more memory "
                "than test_cfg.score_memory; raise it, or test without augmentation"
            )
        scores: Tensor = views[0].seg_logits.data / len(views)
        for view in views[1:]:
            scores += view.seg_logits.data / len(views)
        best, label = scores.max(dim=0)
        threshold = getattr(self.module, "score_threshold", None)
        if threshold is not None:
            label = label.where(best >= threshold, label_of_no_class(len(scores)))
        merged = SegDataSample(metainfo=views[0].metainfo)
        if "gt_sem_seg" in views[0]:
            merged.gt_sem_seg = views[0].gt_sem_seg
        merged.set_data({"seg_logits": PixelData(data=scores), "pred_sem_seg": PixelData(data=label[None])})
        return merged
