"""COCO-Stuff's 27 supercategories (COCO-27); reads COCO-Stuff's label maps."""

_base_ = ["whole_images.py"]

test_dataloader = dict(
    dataset=dict(
        type="mmseg.COCO27Dataset",
        data_root="data/coco_stuff164k",
        data_prefix=dict(img_path="images/val2017", seg_map_path="annotations/val2017"),
    ),
)
