"""CLIP's preprocessing of images and labels."""

from __future__ import annotations

import numpy as np
from open_clip.transform import image_transform
from PIL import Image

from hclip_mmseg.training_free import CLIPCrop


def test_image_is_clips_own():
    image = np.random.default_rng(0).integers(0, 255, (90, 131, 3), dtype=np.uint8)
    results = CLIPCrop(48)(dict(img=image, seg_fields=[]))
    clip = image_transform(48, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))(Image.fromarray(image))
    np.testing.assert_allclose(results["img"], 255 * clip.permute(1, 2, 0).numpy(), atol=1e-4)
    assert results["img_shape"] == results["ori_shape"] == (48, 48)
    assert results["clip_crop"] == (48, 69, 0, 10)


def test_labels_go_along():
    labels = np.arange(80, dtype=np.int64).reshape(8, 10) * 10  # above 255 too
    image = np.repeat(np.arange(80, dtype=np.uint8).reshape(8, 10)[..., None], 3, axis=2)
    big = dict(img=np.kron(image, np.ones((4, 4, 1), np.uint8)), gt_seg_map=np.kron(labels, np.ones((4, 4), np.int64)))
    results = CLIPCrop(8)({**big, "seg_fields": ["gt_seg_map"]})
    np.testing.assert_array_equal(results["gt_seg_map"], labels[:, 1:9])
    assert results["gt_seg_map"].dtype == np.int64


def test_whole_image_stays():
    image = np.zeros((30, 40, 3), np.uint8)
    assert CLIPCrop(8, whole=True)(dict(img=image)) == dict(img=image)
