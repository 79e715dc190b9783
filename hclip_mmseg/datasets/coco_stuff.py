"""COCO-Stuff 164k: 171 classes, 80 things and 91 kinds of stuff."""

from __future__ import annotations

from mmseg.datasets import COCOStuffDataset
from mmseg.registry import DATASETS

from hclip_mmseg.visualization.colours import name_colours

from .vocabularies import load_vocabulary

NAMES = load_vocabulary("coco_stuff_171").names


@DATASETS.register_module()
class COCOStuff171Dataset(COCOStuffDataset):
    """COCO-Stuff 164k with the vocabulary's names, in the label order of MMSeg's converter.

    The layout is MMSeg's: `images/{train,val}2017/*.jpg` and
    `annotations/{train,val}2017/*_labelTrainIds.png`, 8-bit label maps of 0..170 with 255 for ignored pixels.
    """

    METAINFO = dict(classes=NAMES, palette=name_colours(NAMES).tolist())
    HOW_TO_GET = (
        "COCO-Stuff 164k: unpack train2017.zip and val2017.zip (images.cocodataset.org/zips) into images/, "
        "stuffthingmaps_trainval2017.zip (calvin.inf.ed.ac.uk, COCO-Stuff) into annotations/, and run "
        "MMSegmentation's tools/dataset_converters/coco_stuff164k.py on the folder"
    )
