"""PASCAL VOC 2012 and PASCAL-Context, each with and without background."""

from __future__ import annotations

from mmseg.datasets import PascalContextDataset, PascalContextDataset59, PascalVOCDataset
from mmseg.registry import DATASETS

from hclip_mmseg.datasets.benchmark_classes import BenchmarkClasses, class_metainfo

VOC_HOW_TO_GET = (
    "PASCAL VOC 2012: unpack VOCtrainval_11-May-2012.tar (host.robots.ox.ac.uk/pascal/VOC/voc2012) into data, which "
    "makes data/VOCdevkit/VOC2012"
)
CONTEXT_HOW_TO_GET = (
    "PASCAL-Context: unpack VOCtrainval_03-May-2010.tar (host.robots.ox.ac.uk/pascal/VOC/voc2010) into data, "
    "trainval.tar.gz (PASCAL-Context, 459 classes) into data/VOCdevkit/VOC2010, put trainval_merged.json there, then "
    "run python tools/prepare_dataset.py pascal-context --root data/VOCdevkit/VOC2010"
)


@DATASETS.register_module()
class PascalVOC20Dataset(BenchmarkClasses, PascalVOCDataset):
    """PASCAL VOC 2012 without background (PAS-20).

    The layout is the owners', in all of VOC's data sets here: `JPEGImages/*.jpg` and `SegmentationClass/*.png`, 8-bit
    label maps of 1..20 with 0 for background and 255 for outlines. Background is ignored.
    """

    METAINFO = class_metainfo("pascal_voc_20")
    VIEW = {0: 255, **{number: number - 1 for number in range(1, 21)}}
    HOW_TO_GET = VOC_HOW_TO_GET


@DATASETS.register_module()
class PascalVOC21Dataset(BenchmarkClasses, PascalVOCDataset):
    """PASCAL VOC 2012 with background, which is asked for by names of what is not among the 20 classes (VOC21).

    Outlines count as background, as in CLIPtrase's code, whose label maps have one number for both.
    """

    METAINFO = class_metainfo("pascal_voc_21")
    VIEW = {**{number: number for number in range(21)}, 255: 0}
    HOW_TO_GET = VOC_HOW_TO_GET


@DATASETS.register_module()
class PascalVOC21OutlinesIgnoredDataset(PascalVOC21Dataset):
    """VOC21 with outlines ignored, as MMSegmentation and the protocol of SCLIP count them."""

    VIEW = {number: number for number in range(21)}


@DATASETS.register_module()
class PascalVOC20bDataset(BenchmarkClasses, PascalVOCDataset):
    """PASCAL VOC 2012 with background, which is asked for by PASCAL-Context's classes outside VOC (PAS-20b)."""

    METAINFO = class_metainfo("pascal_voc_20b")
    HOW_TO_GET = VOC_HOW_TO_GET


@DATASETS.register_module()
class PascalContext59Dataset(BenchmarkClasses, PascalContextDataset59):
    """PASCAL-Context, the 59 most frequent classes (PC-59).

    The layout is MMSeg's, in all of PASCAL-Context's data sets here: `JPEGImages/*.jpg` and
    `SegmentationClassContext/*.png`, 8-bit label maps of 1..59 with 0 for all else, which is ignored.
    """

    METAINFO = class_metainfo("pascal_context_59")
    HOW_TO_GET = CONTEXT_HOW_TO_GET


@DATASETS.register_module()
class PascalContext60Dataset(BenchmarkClasses, PascalContextDataset):
    """PASCAL-Context, the 59 most frequent classes and background (PC-60)."""

    METAINFO = class_metainfo("pascal_context_60")
    HOW_TO_GET = CONTEXT_HOW_TO_GET


@DATASETS.register_module()
class PascalContext459Dataset(BenchmarkClasses):
    """PASCAL-Context, 459 classes (PC-459).

    `SegmentationClassContext459/*.png` are label maps of 16 bits, 0..458 with 65535 for ignored pixels.
    """

    METAINFO = class_metainfo("pascal_context_459")
    IGNORE = 65535
    HOW_TO_GET = CONTEXT_HOW_TO_GET
