"""Outputs of the backbone's blocks as maps."""

from __future__ import annotations

import pytest
import torch
from tiny_models import randomise, tiny_backbone

from hclip_mmseg.clip.attention import run_block, run_dense_block


def images(height: int, width: int) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("height, width", [(64, 64), (32, 104)])
def test_maps_are_the_blocks_outputs_the_last_in_its_dense_form(height, width):
    backbone = tiny_backbone(guidance_layers=(), guidance_channels=(), out_layers=(0, 2, 3), residual="own")
    randomise(backbone.adapter)
    first, third, last, dense = backbone(images(height, width))
    tower, projections = backbone.image_tower, backbone.projections("image")
    x = tower.embed(images(height, width))
    expected = []
    for index in range(3):
        x = run_block(tower.blocks[index], x, projections(index))
        expected.append(x)
    x = run_dense_block(tower.blocks[3], x, projections(3), "own")
    rows, columns = height // 8, width // 8
    for found, tokens in ((first, expected[0]), (third, expected[2]), (last, x), (dense, tower.project(x))):
        assert found.shape[-2:] == (rows, columns)
        torch.testing.assert_close(found[:, :, 1, 3], tokens[:, 1 + columns + 3], rtol=1e-4, atol=1e-5)


def test_they_stand_between_guidance_and_dense_tokens():
    with_both, plain = tiny_backbone(out_layers=(3, 1)), tiny_backbone()
    found, expected = with_both(images(64, 64)), plain(images(64, 64))
    assert [tuple(x.shape[1:]) for x in found] == [(16, 16, 16), (8, 32, 32), (48, 8, 8), (48, 8, 8), (32, 8, 8)]
    for one, other in zip((found[0], found[1], found[4]), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_folded_and_unfolded_maps_agree():
    backbone = tiny_backbone(guidance_layers=(), guidance_channels=(), out_layers=(0, 1, 3))
    randomise(backbone.adapter)
    unfolded = backbone(images(32, 104))
    with torch.no_grad():
        folded = backbone(images(32, 104))
    for one, other in zip(folded, unfolded, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_positions_written_past_their_parameter_are_seen_after_unfolding():
    backbone = tiny_backbone()
    with torch.no_grad():
        before = backbone(images(32, 104))[-1]
        backbone.image_tower.positional_embedding.data.zero_()
        backbone.forget()
        assert (backbone(images(32, 104))[-1] - before).abs().max() > 1e-4


def test_a_block_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"out_layers \(1, 4\) must be blocks 0 to 3"):
        tiny_backbone(out_layers=(1, 4))
