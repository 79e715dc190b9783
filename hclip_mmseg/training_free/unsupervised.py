"""Segmentation without names: regions gathered into clusters over a whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from hclip_mmseg.models.open_vocab_model import OpenVocabModel
from hclip_mmseg.models.score_maps import unflipped
from hclip_mmseg.training_free.pooled_regions import PooledRegions, pooled_regions
from hclip_mmseg.training_free.region_finder import RegionFinder
from hclip_mmseg.training_free.resolution import at_resolution
from hclip_mmseg.vocabularies import Names


@MODELS.register_module()
class UnsupervisedSegmentor(OpenVocabModel, BaseSegmentor):
    """Gives every region the cluster that its pooled CLIP tokens are nearest to.

    The clusters come from the data set that is segmented, see ``RegionKMeansHook``; which class each of them means
    is for the metric to say, see ``HungarianIoUMetric``. CLIPtrase's paper has rows for this task, but does not say how
    regions of different images become classes; k-means over their tokens is this project's reading.

    Args:
        backbone: config of a ``TrainingFreeBackbone``.
        regions: arguments of :class:`~.region_finder.RegionFinder`.
        clusters: how many.
        resolution: the shorter side that images are brought to, in pixels.
        data_preprocessor: MMSegmentation's.
    """

    training_free = True
    takes_names = False

    def __init__(
        self,
        backbone: dict[str, Any],
        regions: dict[str, Any],
        clusters: int = 27,
        resolution: int = 224,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        train_cfg: None = None,  # these two are set by MMSegmentation's init_model, to None
        pretrained: None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.region_finder = RegionFinder(**regions)
        self.resolution = resolution
        self.register_buffer("centres", torch.zeros(clusters, self.backbone.image_tower.embed_dim), persistent=False)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The clusters' numbers, since they have no names."""
        return tuple(f"cluster {index}" for index in range(len(self.centres)))

    @property
    def templates(self) -> tuple[str, ...]:
        """None: there are no prompts."""
        return ()

    def set_vocabulary(self, names: Names, templates: str | Sequence[str] | None = None) -> None:
        """Raises ValueError: clusters are asked for nothing."""
        raise ValueError("UnsupervisedSegmentor finds clusters, not words; choose a config with a text encoder")

    def set_templates(self, templates: str | Sequence[str]) -> None:
        """Raises ValueError: clusters are asked for nothing."""
        self.set_vocabulary((), templates)

    def extract_feat(self, inputs: Tensor, sizes: Sequence[tuple[int, int]] | None = None) -> list[PooledRegions]:
        """Regions of normalised images [B, 3, H, W]; see :func:`~.pooled_regions.pooled_regions`."""
        images = at_resolution(inputs, self.resolution, self.backbone.image_tower.patch_size)
        return pooled_regions(self.backbone, self.region_finder, images, sizes)

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """Segments images into clusters.

        Args:
            inputs: normalised images [B, 3, H, W].
            data_samples: their meta information; ``ori_shape`` is the size of the results.

        Returns:
            For each image ``pred_sem_seg`` [1, H, W], cluster of each pixel, and ``vocabulary``.

        Raises:
            ValueError: before clusters were found.
        """
        if not self.centres.any():
            raise ValueError("no clusters yet: RegionKMeansHook finds them in a data set, see its config")
        if data_samples is None:
            data_samples = [SegDataSample(metainfo=dict(ori_shape=tuple(inputs.shape[-2:]))) for _ in inputs]
        sizes = [tuple(sample.metainfo.get("ori_shape", inputs.shape[-2:])[:2]) for sample in data_samples]
        for sample, (regions, features) in zip(data_samples, self.extract_feat(inputs, sizes), strict=True):
            nearest = torch.cdist(features, self.centres.to(features.dtype)).argmin(dim=1)
            sample.set_data({"pred_sem_seg": PixelData(data=unflipped(nearest[regions], sample.metainfo)[None])})
            sample.set_metainfo({"vocabulary": self.vocabulary})
        return list(data_samples)

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Raises NotImplementedError: nothing is trained."""
        raise NotImplementedError("UnsupervisedSegmentor has nothing to train; use tools/test.py")

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        """Raises NotImplementedError: regions have clusters, no scores."""
        raise NotImplementedError("UnsupervisedSegmentor gives clusters of regions, no scores of pixels; use predict")

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> list[PooledRegions]:
        return self.extract_feat(inputs)
