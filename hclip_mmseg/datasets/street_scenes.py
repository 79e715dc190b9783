"""Cityscapes, with 19 and with 27 classes, and Mapillary Vistas."""

from __future__ import annotations

from typing import Any

from mmseg.datasets import CityscapesDataset, MapillaryDataset_v1
from mmseg.registry import DATASETS

from hclip_mmseg.datasets.benchmark_classes import BenchmarkClasses, class_metainfo

CITYSCAPES_HOW_TO_GET = (
    "Cityscapes: unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip (cityscapes-dataset.com) into "
    "data/cityscapes, then run python tools/prepare_dataset.py cityscapes --root data/cityscapes"
)


@DATASETS.register_module()
class Cityscapes19Dataset(BenchmarkClasses, CityscapesDataset):
    """Cityscapes with the 19 classes of its benchmark.

    The layout is the owners': `leftImg8bit/<split>/<city>/*_leftImg8bit.png` and, beside their other files,
    `gtFine/<split>/<city>/*_gtFine_labelTrainIds.png`, 0..18 with 255 for ignored pixels.
    """

    METAINFO = class_metainfo("cityscapes_19")
    HOW_TO_GET = CITYSCAPES_HOW_TO_GET


@DATASETS.register_module()
class Cityscapes27Dataset(BenchmarkClasses, CityscapesDataset):
    """Cityscapes with all classes but void, read from the owners' `*_gtFine_labelIds.png`."""

    METAINFO = class_metainfo("cityscapes_27")
    VIEW = {number: number - 7 if 7 <= number <= 33 else 255 for number in range(256)}
    HOW_TO_GET = CITYSCAPES_HOW_TO_GET

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"seg_map_suffix": "_gtFine_labelIds.png", **kwargs})


@DATASETS.register_module()
class Mapillary65Dataset(BenchmarkClasses, MapillaryDataset_v1):
    """Mapillary Vistas with the 65 classes of version 1.2; 'unlabeled' is ignored.

    The layout is the owners', of version 2.0: `<split>/images/*.jpg` and `<split>/v1.2/labels/*.png`, palette images
    of 0..65.
    """

    METAINFO = class_metainfo("mapillary_65")
    VIEW = {**{number: number for number in range(65)}, 65: 255}
    HOW_TO_GET = "Mapillary Vistas 2.0 (mapillary.com/dataset/vistas): unpack it into data/mapillary"
