"""The EVA image tower against timm's and open_clip's own forward pass."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from timm.models.eva import Eva
from tiny_eva import GEOMETRY, tiny_eva_clip

from hclip_mmseg.clip import EvaTower, PlainProjections, build_clip
from hclip_mmseg.clip.attention import run_block


def run(tower: EvaTower, images: torch.Tensor) -> torch.Tensor:
    x = tower.embed(images)
    for block in tower.blocks:
        x = run_block(block, x, PlainProjections.of(block.attn))
    return x


@pytest.mark.parametrize("name", ["eva_of_tests", "eva_of_tests_scaled"])
def test_tokens_and_embedding_are_timms(name):
    clip = tiny_eva_clip(name=name)
    tower = EvaTower(clip.visual)
    images = torch.randn(2, 3, 32, 32)
    tokens = run(tower, images)
    expected = clip.visual.trunk.norm(tokens)
    torch.testing.assert_close(clip.visual.trunk.forward_features(images), expected)
    torch.testing.assert_close(tower.project(tokens[:, 0]), clip.encode_image(images))
    assert (tower.layers, tower.width, tower.patch_size, tower.embed_dim, tower.grid_size) == (3, 48, 8, 32, (4, 4))


def test_names_stay_open_clips():
    clip = tiny_eva_clip()
    assert dict(EvaTower(clip.visual).named_parameters()).keys() == dict(clip.visual.named_parameters()).keys()


def test_a_larger_image_gets_positions_resized_bilinearly():
    tower = EvaTower(tiny_eva_clip().visual, interpolation="bilinear")
    images = torch.randn(1, 3, 48, 64)
    tokens = tower.embed(images)
    positions = tower.trunk.pos_embed[0]
    grid = F.interpolate(positions[1:].T.reshape(1, 48, 4, 4), size=(6, 8), mode="bilinear", align_corners=False)
    patch = tower.trunk.patch_embed.proj(images[:, :, 8:16, 16:24])[0, :, 0, 0]
    torch.testing.assert_close(tokens[0, 1 + 8 + 2], patch + grid[0, :, 1, 2])
    torch.testing.assert_close(tokens[0, 0], tower.trunk.cls_token[0, 0] + positions[0])


def test_other_trunks_are_refused():
    def trunk(**changes):
        visual = tiny_eva_clip().visual
        visual.trunk = Eva(img_size=32, patch_size=8, embed_dim=48, depth=1, num_heads=4, **changes)
        return visual

    with pytest.raises(ValueError, match="another kind of rotary positions"):
        EvaTower(trunk(global_pool="token", use_rot_pos_emb=True, rope_type="mixed"))
    with pytest.raises(ValueError, match="pooling by 'max'"):
        EvaTower(trunk(global_pool="max"))
    if "qk_norm" in inspect.signature(Eva).parameters:  # not in all releases of timm
        with pytest.raises(ValueError, match="inside the attention"):
            EvaTower(trunk(global_pool="token", qk_norm=True))
    with pytest.raises(ValueError, match="blocks of another kind"):
        EvaTower(trunk(global_pool="token", use_post_norm=True))
    with pytest.raises(ValueError, match="no learned position"):
        EvaTower(trunk(global_pool="token", num_reg_tokens=2))
    resnet = TimmModel("resnet18", 32, pool="avg")
    with pytest.raises(ValueError, match="ResNet"):
        EvaTower(resnet)
    with pytest.raises(ValueError, match="multiples of its patch"):
        EvaTower(tiny_eva_clip().visual).embed(torch.zeros(1, 3, 30, 32))


def test_a_trunk_without_dense_tokens_has_to_be_asked_for():
    convnext = {**GEOMETRY, "vision_cfg": dict(image_size=32, timm_model_name="convnext_atto", timm_pool="avg")}
    with pytest.raises(ValueError, match="the image tower of .* has layers of its own: no vision transformer"):
        build_clip(convnext)
    build_clip(convnext, timm_trunk=True)


def test_blocks_are_seen_as_they_are_now():
    tower = EvaTower(tiny_eva_clip().visual)
    block = tower.blocks[1]
    twin = copy.deepcopy(tower)
    with torch.no_grad():
        tower.trunk.blocks[1].attn.q_bias.add_(1.0)
    tower.double()
    width = tower.width
    assert block.attn.in_proj_bias.dtype == block.attn.in_proj_weight.dtype == torch.float64
    moved = block.attn.in_proj_bias.float() - twin.blocks[1].attn.in_proj_bias
    torch.testing.assert_close(moved, torch.cat([torch.ones(width), torch.zeros(2 * width)]))
