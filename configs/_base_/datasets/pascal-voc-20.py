"""PASCAL VOC 2012 without background (PAS-20)."""

_base_ = ["whole_images.py"]

test_dataloader = dict(
    dataset=dict(
        type="mmseg.PascalVOC20Dataset",
        data_root="data/VOCdevkit/VOC2012",
        ann_file="ImageSets/Segmentation/val.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
    ),
)
