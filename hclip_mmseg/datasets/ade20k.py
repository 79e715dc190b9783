"""ADE20K: the 150 classes of scene parsing, and the 847 of the full annotation."""

from __future__ import annotations

from typing import Any

from mmseg.datasets import ADE20KDataset
from mmseg.registry import DATASETS

from hclip_mmseg.datasets.benchmark_classes import BenchmarkClasses, class_metainfo


@DATASETS.register_module()
class ADE20K150Dataset(BenchmarkClasses, ADE20KDataset):
    """ADE20K's scene parsing with the vocabulary's names.

    The layout is the owners': `images/{training,validation}/*.jpg` and `annotations/{training,validation}/*.png`,
    8-bit label maps of 1..150 with 0 for pixels without a class.
    """

    METAINFO = class_metainfo("ade20k_150")
    HOW_TO_GET = "ADE20K: unpack ADEChallengeData2016.zip (data.csail.mit.edu/places/ADEchallenge) into data/ade"


@DATASETS.register_module()
class ADE20K847Dataset(BenchmarkClasses):
    """ADE20K's full annotation, the 847 classes that both its training and its validation images hold.

    Images are read where the owners put them, `images/ADE/{training,validation}/<scene>/.../*.jpg`; label maps are
    `labels_847/{training,validation}/<scene>/.../*.png`, of 16 bits, 0..846 with 65535 for ignored pixels. Nine first
    names belong to two or three classes, which their synonyms tell apart; see :class:`Vocabulary.titles`.
    """

    METAINFO = class_metainfo("ade20k_847")
    IGNORE = 65535
    HOW_TO_GET = (
        "ADE20K full: unpack ADE20K_2021_17_01.zip (ade20k.csail.mit.edu) into data/ade, then run "
        "python tools/prepare_dataset.py ade20k-847 --root data/ade/ADE20K_2021_17_01"
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"img_suffix": ".jpg", "seg_map_suffix": ".png", **kwargs})
