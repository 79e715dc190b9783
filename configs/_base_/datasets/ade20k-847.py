"""ADE20K full, 847 classes (A-847): label maps of 16 bits.

To train on it, say in the model's config that 65535 is the label of no class:
``model = dict(data_preprocessor=dict(seg_pad_val=65535), decode_head=dict(ignore_index=65535))``.
"""

_base_ = ["./many_classes_384x384.py"]

images = dict(
    type="mmseg.ADE20K847Dataset",
    data_root="data/ade/ADE20K_2021_17_01",
    data_prefix=dict(img_path="images/ADE", seg_map_path="labels_847"),
)
# the papers' figures are of JPEG copies of a shorter side of 512; LoadImageFromFile evaluates the owners' images
test_pipeline = [
    dict(
        type="mmseg.LoadReducedImageFromFile",
        short_side=512,
        imdecode_backend="pillow",
        color_type="color_ignore_orientation",
    ),
    _base_.published_resize,
    dict(type="mmseg.LoadLabelMap"),
    dict(type="mmseg.PackSegInputs"),
]
train_dataloader = dict(dataset=dict(ann_file="labels_847/training.txt", **images))
val_dataloader = dict(dataset=dict(ann_file="labels_847/validation.txt", pipeline=test_pipeline, **images))
test_dataloader = val_dataloader
