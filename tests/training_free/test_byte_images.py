"""Images of bytes resized as OpenCV resizes them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from tiny_training_free import tiny_training_free

from hclip_mmseg.training_free.byte_images import Normalisation, resized_bytes, resized_image

SHAPE = dict(ori_shape=(50, 70))
SIZES = [((375, 500), (336, 448)), ((333, 500), (336, 504)), ((64, 80), (336, 420)), ((90, 31), (17, 40))]


@pytest.mark.parametrize(("size", "target"), SIZES)
def test_they_are_opencvs_bit_for_bit(size, target):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = cv2.resize(image, target[::-1], interpolation=cv2.INTER_LINEAR)
    found = resized_bytes(torch.from_numpy(image).permute(2, 0, 1).int(), target)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected.reshape(*target, 3))


def test_normalised_bytes_are_resized_as_bytes_and_other_images_bilinearly():
    pixels = torch.randint(0, 256, (3, 40, 52), generator=torch.Generator().manual_seed(0))
    given = Normalisation(torch.tensor([122.771, 116.746, 104.094]).view(3, 1, 1), torch.full((3, 1, 1), 68.5))
    normalised = (pixels - given.mean) / given.std
    expected = (resized_bytes(pixels.int(), (31, 60)) - given.mean) / given.std
    assert torch.equal(resized_image(normalised, (31, 60), given), expected)
    bilinear = F.interpolate(normalised[None], size=(31, 60), mode="bilinear")[0]
    assert torch.equal(resized_image(normalised, (31, 60)), bilinear) and not torch.equal(bilinear, expected)
    between = normalised + 0.3 / given.std
    expected = F.interpolate(between[None], (31, 60), mode="bilinear")[0]
    assert torch.equal(resized_image(between, (31, 60), given), expected)


def test_a_prediction_is_that_of_the_image_that_opencv_resized():
    model = tiny_training_free(attention="sclip", protocol=dict(type="sclip", short_side=40, window=32, stride=16))
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    small = cv2.resize(image, (56, 40), interpolation=cv2.INTER_LINEAR)
    found, expected = (
        model.test_step(
            dict(inputs=[torch.from_numpy(pixels).permute(2, 0, 1)], data_samples=[SegDataSample(metainfo=SHAPE)])
        )[0]
        for pixels in (image, small)
    )
    torch.testing.assert_close(found.seg_logits.data, expected.seg_logits.data, rtol=0, atol=1e-6)
    assert torch.equal(found.pred_sem_seg.data, expected.pred_sem_seg.data)
