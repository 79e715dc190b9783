"""Rounding that makes up for its errors, against rounding to the nearest."""

from __future__ import annotations

import numpy as np
import pytest

from hclip_mmseg.export.rounding import round_matrix


@pytest.fixture
def random():
    return np.random.default_rng(0)


def mean_square(inputs, change):
    return np.square(inputs @ change).mean()


def test_products_of_inputs_that_go_together_lose_less_than_by_rounding_to_the_nearest(random):
    """300 rows are more than two blocks; the gain is measured on inputs of the same kind that were not seen."""
    mixing = random.normal(size=(24, 300))
    seen, unseen = (random.normal(size=(2000, 24)) @ mixing + 0.05 * random.normal(size=(2000, 300)) for _ in range(2))
    weight = random.normal(size=(300, 16)).astype(np.float32)
    rounded = round_matrix(weight, seen.T @ seen)
    scales = np.abs(weight).max(axis=0) / 127
    np.testing.assert_allclose(rounded.scales, scales, rtol=1e-6)
    assert rounded.values.dtype == np.int8 and np.abs(rounded.values.astype(int)).max() <= 127
    change = rounded.values * rounded.scales - weight
    nearest = np.round(weight / scales) * scales - weight
    assert mean_square(unseen, change) < 0.1 * mean_square(unseen, nearest)
    assert rounded.error == pytest.approx(mean_square(seen, change) / mean_square(seen, weight), rel=1e-3)


def test_inputs_that_have_nothing_in_common_are_rounded_to_the_nearest(random):
    weight = random.normal(size=(40, 7)).astype(np.float32)
    rounded = round_matrix(weight, np.diag(random.uniform(1, 9, 40)))
    np.testing.assert_array_equal(rounded.values, np.round(weight / rounded.scales))


def test_silent_inputs_and_empty_columns_are_no_trouble(random):
    weight = random.normal(size=(40, 3)).astype(np.float32)
    weight[:, 1] = 0
    for moment in (np.zeros((40, 40)), np.diag(np.arange(40.0))):
        rounded = round_matrix(weight, moment)
        assert np.isfinite(rounded.error) and not rounded.values[:, 1].any()
        assert (np.abs(rounded.values * rounded.scales - weight) <= rounded.scales / 2 * 1.001).all()
