"""The COCO-Stuff data set on a tree with the official layout."""

import numpy as np
from miniature import CLASSES, LABELS
from mmengine.config import Config
from mmseg.registry import DATASETS

from hclip_mmseg.vocabularies import load_vocabulary


def dataset(config, coco_stuff, split, **changes):
    settings = config[f"{split}_dataloader"].dataset.to_dict()
    return DATASETS.build({**settings, "data_root": str(coco_stuff), "_scope_": "mmseg", **changes})


def test_training_crops_and_whole_test_images(coco_stuff, repository):
    config = Config.fromfile(repository / "configs/hclip/hclip_vitb16_coco-stuff.py")
    train = dataset(config, coco_stuff, "train")
    assert len(train) == 8
    assert train.metainfo["classes"] == load_vocabulary("coco_stuff_171").names
    for index in range(4):
        item = train[index]
        assert item["inputs"].shape == (3, 384, 384)
        labels = item["data_samples"].gt_sem_seg.data
        assert set(np.unique(labels)) <= {*LABELS, 255}
    test = dataset(config, coco_stuff, "test")
    assert test[0]["inputs"].shape == (3, 640, 960) and test[0]["data_samples"].ori_shape == (80, 120)


def test_a_part_of_the_classes_can_be_chosen(coco_stuff, repository):
    config = Config.fromfile(repository / "configs/hclip/hclip_vitb16_coco-stuff.py")
    some = dataset(config, coco_stuff, "test", metainfo=dict(classes=CLASSES))
    every = dataset(config, coco_stuff, "test")
    chosen, original = (d[0]["data_samples"].gt_sem_seg.data.numpy() for d in (some, every))
    for index, label in enumerate(LABELS):
        assert (chosen[original == label] == index).all()
    assert (chosen[original == 255] == 255).all()
