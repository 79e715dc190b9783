"""PASCAL VOC 2012 with background, asked for by PASCAL-Context's classes outside VOC (PAS-20b)."""

_base_ = ["whole_images.py"]

test_dataloader = dict(
    dataset=dict(
        type="mmseg.PascalVOC20bDataset",
        data_root="data/VOCdevkit/VOC2012",
        ann_file="ImageSets/Segmentation/val.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
    ),
)
