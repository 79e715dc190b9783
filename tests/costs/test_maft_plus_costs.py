"""Counting MAFT+'s operations."""

from __future__ import annotations

import torch
from tiny_maft_plus import NAMES, tiny_maft_plus

from hclip_mmseg.costs.maft_plus import head_operations, score_operations
from hclip_mmseg.costs.operations import operations


def test_the_heads_operations_follow_from_two_sizes():
    model = tiny_maft_plus().eval()
    tower = model.backbone.image_tower
    maps = [torch.zeros(1, c, 192 // s, 192 // s) for c, s in zip(tower.channels, tower.strides, strict=True)]
    direct = operations(lambda: model.head(maps, []))
    assert head_operations(model.head, tower.channels, tower.strides, 192**2) == direct
    assert head_operations(model.head.train(), tower.channels, tower.strides, 192**2) > direct


def test_scores_are_counted_by_their_matrix_products():
    plain = tiny_maft_plus(cdt=None)
    positions, queries, channels, width, hidden = 4 * 4, 6, 192, 32, 64
    pooling = queries * channels * positions
    head = queries * (channels * hidden + hidden * width)
    scores = queries * width * (len(NAMES) + 1)  # void's column too; here every name has one word
    assert score_operations(plain, len(NAMES), (64, 64)) == 2 * (pooling + head + scores)
    assert score_operations(tiny_maft_plus(), len(NAMES), (64, 64)) > 2 * (pooling + head + scores)
