"""The two towers against open_clip's own, and the dense form against its equations."""

from __future__ import annotations

import open_clip
import pytest
import torch
import torch.nn.functional as F

from hclip_mmseg.clip import ImageTower, TextTower, build_clip, cut_behind_longest, tokenize

GEOMETRY = dict(
    embed_dim=32,
    vision_cfg=dict(image_size=32, layers=3, width=64, patch_size=8, head_width=32),
    text_cfg=dict(context_length=77, vocab_size=49408, width=64, heads=2, layers=3),
)


@pytest.fixture(scope="module", params=[False, True], ids=["gelu", "quick_gelu"])
def clip(request):
    torch.manual_seed(0)
    model = build_clip(GEOMETRY, quick_gelu=request.param)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def test_image_embedding_is_open_clips(clip):
    tower = ImageTower(clip.visual)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(tower.encode_image(images), clip.encode_image(images))


def test_text_embedding_is_open_clips_although_cut(clip):
    tower = TextTower(clip)
    texts = ["cat", "a photo of a traffic light in the scene", "x " * 70]
    tokens = open_clip.SimpleTokenizer()(texts)
    torch.testing.assert_close(tower(tokens), clip.encode_text(tokens))
    short = cut_behind_longest(tokens[:2])
    assert short.shape[1] < tokens.shape[1]
    torch.testing.assert_close(tower(short), clip.encode_text(tokens[:2]))


def test_texts_are_cut_behind_the_end_token_of_the_longest():
    tokens = open_clip.SimpleTokenizer()(["cat", "a red bus"])
    cut = cut_behind_longest(tokens)
    assert cut.shape == (2, 5)  # start, "a", "red", "bus", end
    assert torch.equal(cut, tokens[:, :5]) and not tokens[:, 5:].any()


def test_checkpointed_blocks_give_the_same_gradients(clip):
    tower = TextTower(clip)
    tokens = open_clip.SimpleTokenizer()(["cat", "a red bus"])
    gradients = []
    for checkpointed in (False, True):
        tower.zero_grad()
        tower(tokens, checkpointed).square().sum().backward()
        gradients.append(tower.transformer.resblocks[0].attn.in_proj_weight.grad.clone())
    torch.testing.assert_close(*gradients)


def literal_dense(visual, images, residual):
    """Design section 4, with open_clip's own modules: the last block's attention replaced by its values."""
    x = visual._embeds(images)
    blocks = visual.transformer.resblocks
    inner = []
    for block in blocks[:-1]:
        x = block(x)
        inner.append(x)
    last = blocks[-1]
    width = x.shape[-1]
    normed = last.ln_1(x)
    values = normed @ last.attn.in_proj_weight[2 * width :].T + last.attn.in_proj_bias[2 * width :]
    tokens = last.attn.out_proj(values)
    if residual != "value":
        tokens = tokens + {"cls": x[:, :1].expand_as(x), "own": x, "none": torch.zeros_like(x)}[residual]
        tokens = tokens + last.mlp(last.ln_2(tokens))
    return visual.ln_post(tokens) @ visual.proj, inner


@pytest.mark.parametrize("residual", ["cls", "own", "none", "value"])
def test_dense_tokens_and_inner_blocks(clip, residual):
    tower = ImageTower(clip.visual)
    images = torch.randn(2, 3, 32, 32)
    dense, inner = tower(images, collect=(1, 0), residual=residual)
    expected, blocks = literal_dense(clip.visual, images, residual)
    torch.testing.assert_close(dense, expected)
    torch.testing.assert_close(inner[0], blocks[1])
    torch.testing.assert_close(inner[1], blocks[0])


def test_unknown_residual_is_refused(clip):
    tower = ImageTower(clip.visual)
    with pytest.raises(ValueError, match="residual must be 'cls', 'own', 'none', 'value' or 'block', not 'both'"):
        tower(torch.randn(1, 3, 32, 32), residual="both")


def test_any_multiple_of_the_patch(clip):
    tower = ImageTower(clip.visual)
    dense, _ = tower(torch.randn(1, 3, 40, 56))
    assert dense.shape == (1, 1 + 5 * 7, 32)
    positions = tower.positions((5, 7))
    grid = tower.positional_embedding[1:].reshape(1, 4, 4, 64).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=(5, 7), mode="bicubic")[0].permute(1, 2, 0).reshape(35, 64)
    torch.testing.assert_close(positions, torch.cat([tower.positional_embedding[:1], expected]))


@pytest.mark.parametrize("height, width", [(33, 32), (32, 4), (0, 32)])
def test_other_sizes_are_refused(clip, height, width):
    with pytest.raises(ValueError, match=f"multiples of its patch of 8 pixels, got {height} x {width}"):
        ImageTower(clip.visual)(torch.randn(1, 3, height, width))


def test_parameter_names_stay_open_clips(clip):
    image, text = ImageTower(clip.visual), TextTower(clip)
    names = {f"visual.{name}" for name in image.state_dict()} | set(text.state_dict()) | {"logit_scale"}
    assert names == set(clip.state_dict())


def test_tokens_are_open_clips():
    names, templates = ["cat", "Building, edifice", "naïve  café &amp; bar"], ("a photo of a {}.", "{}")
    tokens = tokenize(names, templates)
    expected = open_clip.SimpleTokenizer()(
        [template.format(name.split(",")[0]) for name in names for template in templates]
    )
    assert torch.equal(tokens.flatten(0, 1), expected)


def test_a_name_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match=r"class name 1 \('very very.*takes \d+ tokens.*77 places"):
        tokenize(["cat", "very " * 80 + "long"], ("a photo of a {}",))
