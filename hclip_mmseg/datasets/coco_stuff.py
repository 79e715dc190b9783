"""COCO-Stuff 164k: 171 classes, 80 things and 91 kinds of stuff, and two coarser views of its label maps."""

from __future__ import annotations

from mmseg.datasets import COCOStuffDataset
from mmseg.registry import DATASETS

from hclip_mmseg.datasets.benchmark_classes import BenchmarkClasses, class_metainfo
from hclip_mmseg.vocabularies import Vocabulary, load_vocabulary

NAMES = load_vocabulary("coco_stuff_171").names
THINGS = len(load_vocabulary("coco_object_80"))
IGNORED = 255
HOW_TO_GET = (
    "COCO-Stuff 164k: unpack train2017.zip and val2017.zip (images.cocodataset.org/zips) into images/, "
    "stuffthingmaps_trainval2017.zip (calvin.inf.ed.ac.uk, COCO-Stuff) into annotations/, and run "
    "python tools/prepare_dataset.py coco-stuff --root data/coco_stuff164k"
)


def coarse_labels(vocabulary: Vocabulary) -> dict[int, int]:
    """COCO-Stuff label -> index of the class that has its name among the members."""
    assert vocabulary.folds is not None
    class_of = dict(zip(vocabulary.asked, vocabulary.folds, strict=True))
    return {label: class_of[name] for label, name in enumerate(NAMES)}


@DATASETS.register_module()
class COCOStuff171Dataset(BenchmarkClasses, COCOStuffDataset):
    """COCO-Stuff 164k with the vocabulary's names, in the label order of MMSeg's converter.

    The layout is MMSeg's: `images/{train,val}2017/*.jpg` and
    `annotations/{train,val}2017/*_labelTrainIds.png`, 8-bit label maps of 0..170 with 255 for ignored pixels.
    """

    METAINFO = class_metainfo("coco_stuff_171")
    HOW_TO_GET = HOW_TO_GET


@DATASETS.register_module()
class COCOObjectDataset(BenchmarkClasses, COCOStuffDataset):
    """The 80 things of COCO, and background, which is asked for by many names. Reads COCO-Stuff's label maps.

    As CLIPtrase's code counts them: background are the pixels that COCO-Stuff leaves without a label and those of its
    first stuff, "banner" (label 80, its number for background); all other stuff is ignored.
    """

    METAINFO = class_metainfo("coco_object_81")
    VIEW = {
        **{label: label + 1 for label in range(THINGS)},
        **dict.fromkeys(range(THINGS + 1, len(NAMES)), IGNORED),
        **dict.fromkeys((THINGS, IGNORED), 0),
    }
    HOW_TO_GET = HOW_TO_GET


@DATASETS.register_module()
class COCOObjectAllBackgroundDataset(COCOObjectDataset):
    """COCO-Object in which all that is none of the 80 things is background, unlabelled pixels too, as SCLIP counts."""

    VIEW = {
        **{label: label + 1 for label in range(THINGS)},
        **dict.fromkeys((*range(THINGS, len(NAMES)), IGNORED), 0),
    }


@DATASETS.register_module()
class COCO27Dataset(BenchmarkClasses, COCOStuffDataset):
    """COCO-Stuff's 27 supercategories, asked for by the names of their classes. Reads COCO-Stuff's label maps."""

    METAINFO = class_metainfo("coco_27")
    VIEW = coarse_labels(load_vocabulary("coco_27"))
    HOW_TO_GET = HOW_TO_GET
