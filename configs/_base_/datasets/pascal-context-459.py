"""PASCAL-Context, 459 classes (PC-459): label maps of 16 bits.

To train on it, say in the model's config that 65535 is the label of no class:
``model = dict(data_preprocessor=dict(seg_pad_val=65535), decode_head=dict(ignore_index=65535))``.
"""

_base_ = ["./many_classes_384x384.py"]

images = dict(
    type="mmseg.PascalContext459Dataset",
    data_root="data/VOCdevkit/VOC2010",
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext459"),
)
train_dataloader = dict(dataset=dict(ann_file="ImageSets/SegmentationContext/train.txt", **images))
val_dataloader = dict(dataset=dict(ann_file="ImageSets/SegmentationContext/val.txt", **images))
test_dataloader = val_dataloader
