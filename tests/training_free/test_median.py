"""Medians of windows against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from hclip_mmseg.training_free.median import by_comparisons, by_window, median_filter, possible_places


@pytest.mark.parametrize("side", [1, 3, 5, 7])
@pytest.mark.parametrize("shape", [(2, 9, 13), (300, 2, 120), (1, 1, 4)])
def test_the_median_is_scipys(shape, side):
    maps = torch.randint(0, 40, shape).float()  # with many equal numbers
    expected = ndimage.median_filter(maps.numpy(), size=(1, side, side), mode="reflect")
    for median in (median_filter, by_comparisons, by_window):
        np.testing.assert_array_equal(median(maps, side), expected)
    torch.use_deterministic_algorithms(True)
    try:
        np.testing.assert_array_equal(by_window(maps, side), expected)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("side", [3, 7])
def test_the_median_is_at_a_place_where_it_can_be(side):
    values = torch.rand(500, side, side)
    squares = values.sort(dim=1).values.sort(dim=2).values
    medians = values.flatten(1).median(dim=1).values
    found = (squares == medians[:, None, None]).nonzero()[:, 1:]
    assert {tuple(place) for place in found.tolist()} <= set(possible_places(side)), "the median lies elsewhere"


def test_a_window_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="odd number of pixels a side, not 4"):
        median_filter(torch.rand(1, 5, 5), 4)
