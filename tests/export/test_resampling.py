"""Resizing in numpy against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hclip_mmseg.export.resampling import antialiased, bilinear

SIZES = [((7, 9), (20, 31)), ((40, 64), (13, 64)), ((5, 5), (5, 5)), ((96, 96), (480, 333)), ((3, 80), (50, 20))]


def pixels(height: int, width: int) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(height * width))


@pytest.mark.parametrize(("given", "wanted"), SIZES)
def test_bilinear(given, wanted):
    maps = pixels(*given)
    expected = F.interpolate(maps[None], size=wanted, mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(bilinear(maps.numpy(), wanted), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("given", "wanted"), SIZES)
def test_antialiased(given, wanted, kernel):
    image = pixels(*given)
    expected = F.interpolate(image[None], size=wanted, mode=kernel, align_corners=False, antialias=True)[0]
    np.testing.assert_allclose(antialiased(image.numpy(), wanted, kernel), expected, rtol=0, atol=2e-5)


def test_maps_that_have_the_size_are_given_back():
    maps = pixels(4, 6).numpy()
    assert bilinear(maps, (4, 6)) is maps
