"""What tests make: a small COCO-Stuff, CLIP weights in OpenAI's form, a config that runs in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
CLASSES = ("person", "bicycle", "car", "dog", "tree", "grass")  # of COCO-Stuff, labels below
LABELS = (0, 1, 2, 16, 160, 112)

TINY = """
custom_imports = dict(imports=["hclip_mmseg"])
default_scope = "mmseg"
model = dict(
    type="OpenVocabSegmentor",
    data_preprocessor=dict(type="SegDataPreProcessor", mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True,
                           pad_val=0, seg_pad_val=255, size=(64, 64)),
    backbone=dict(
        type="HCLIPBackbone",
        clip=dict(model=dict(
            embed_dim=32,
            vision_cfg=dict(image_size=64, layers=4, width=48, patch_size=8, head_width=16),
            text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=4))),
        adapter=dict(type="POP", block_size=16, orthogonal=("text",), relation=dict(type="linear")),
        guidance_layers=(0, 1), guidance_channels=(16, 8)),
    text_encoder=dict(type="TextEncoderNeck"),
    decode_head=dict(type="CostAggregationHead", text_channels=32, dim=16, layers=1, heads=2, window=4,
                     appearance_dim=16, text_guidance_dim=16, class_length=16, decoder_channels=(32, 16),
                     guidance_channels=(16, 8), guidance_projections=(8, 8)),
    test_cfg=dict(mode="slide_whole", canvas=96, window=64, clip_resolution=64))
pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"),
            dict(type="Resize", scale=(64, 64), keep_ratio=False), dict(type="PackSegInputs")]
test_pipeline = [pipeline[0], pipeline[3]]
dataset = dict(type="COCOStuff171Dataset", data_root=DATA_ROOT, metainfo=dict(classes=CLASSES))
train_dataloader = dict(
    batch_size=BATCH, num_workers=0, sampler=dict(type="InfiniteSampler", shuffle=False),
    dataset=dict(pipeline=pipeline, **dataset,
                 data_prefix=dict(img_path="images/train2017", seg_map_path="annotations/train2017")))
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(pipeline=[pipeline[0], pipeline[1], pipeline[3]], **dataset,
                 data_prefix=dict(img_path="images/val2017", seg_map_path="annotations/val2017")))
test_evaluator = dict(type="OpenVocabIoUMetric", iou_metrics=["mIoU"])
test_cfg = dict(type="TestLoop")
train_cfg = dict(type="IterBasedTrainLoop", max_iters=3)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1, momentum=0.9))
default_hooks = dict(checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=1),
                     logger=dict(type="LoggerHook", interval=1, log_metric_by_epoch=False))
custom_hooks = [dict(type="DCRCHook", interval=0), dict(type="VocabularyHook")]
visualizer = dict(type="OpenVocabVisualizer", vis_backends=[dict(type="LocalVisBackend")])
log_processor = dict(by_epoch=False)
randomness = dict(seed=0, deterministic=True)
"""


def write_coco_stuff(root: Path, train: int = 8, val: int = 2, size: tuple[int, int] = (80, 120)) -> Path:
    """A COCO-Stuff of random images with blocks of labels, in the layout that MMSeg's converter makes."""
    random = np.random.default_rng(0)
    for split, count in (("train2017", train), ("val2017", val)):
        images, maps = root / "images" / split, root / "annotations" / split
        images.mkdir(parents=True)
        maps.mkdir(parents=True)
        for number in range(count):
            blocks = random.choice([*LABELS, 255], size=(2, 3))
            labels = blocks.repeat(size[0] // 2, 0).repeat(size[1] // 3, 1)
            image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(image).save(images / f"{number:012d}.jpg")
            Image.fromarray(labels.astype(np.uint8)).save(maps / f"{number:012d}_labelTrainIds.png")
    return root


def write_openai_vitb16(path: Path) -> Path:
    """Random weights with the names, shapes, precision and extra entries of OpenAI's ViT-B/16."""
    from open_clip import factory
    from open_clip.model import CLIP

    torch.manual_seed(0)
    clip = CLIP(**factory.get_model_config("ViT-B-16"))
    state = {name: value.half() for name, value in clip.state_dict().items()}
    extras = dict(input_resolution=224, context_length=77, vocab_size=49408)
    torch.save({**state, **{name: torch.tensor(value) for name, value in extras.items()}}, path)
    return path


def write_tiny_config(path: Path, data_root: Path, batch: int = 4) -> Path:
    """A config of a random tiny H-CLIP on a miniature COCO-Stuff."""
    settings = {"DATA_ROOT": repr(str(data_root)), "CLASSES": repr(CLASSES), "BATCH": str(batch)}
    text = TINY
    for name, value in settings.items():
        text = text.replace(name, value)
    path.write_text(text)
    return path
