"""PASCAL-Context, the 59 most frequent classes (PC-59)."""

_base_ = ["whole_images.py"]

test_dataloader = dict(
    dataset=dict(
        type="mmseg.PascalContext59Dataset",
        data_root="data/VOCdevkit/VOC2010",
        ann_file="ImageSets/SegmentationContext/val.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
    ),
)
