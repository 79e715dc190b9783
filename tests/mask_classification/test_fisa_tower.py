"""FISA's mask tokens against its equations written as loops, and against CLIP itself."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_eva import tiny_eva_clip
from tiny_models import clip_geometry, randomise
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hclip_mmseg.adapters import build_adapter
from hclip_mmseg.clip import EvaTower, ImageTower, PlainProjections, build_clip
from hclip_mmseg.clip.attention import run_block
from hclip_mmseg.mask_classification.fisa import (
    SEVE,
    ClassAttention,
    DistributionAdapter,
    MaskTokenTower,
    TunedQueries,
    mask_bias,
    patch_logits,
)


def vit_tower(seed: int = 0, layers: int = 3) -> ImageTower:
    torch.manual_seed(seed)
    tower = ImageTower(build_clip(clip_geometry(image_layers=layers)).visual, interpolation="bilinear")
    randomise(tower, 0.05)
    return tower.requires_grad_(False)


def eva_tower(seed: int = 0) -> EvaTower:
    tower = EvaTower(tiny_eva_clip(seed, "eva_of_tests_scaled").visual, interpolation="bilinear")
    return tower.requires_grad_(False)


def mask_tower(tower, shared: bool = True, tuned: bool = True, form: str = "added", **changes) -> MaskTokenTower:
    sizes = dict(width=tower.width, class_width=tower.embed_dim, layers=tower.layers)
    model = MaskTokenTower(
        tower,
        SEVE(**sizes, inner_width=12, heads=3 if form == "added" else None, shared=shared, form=form),
        TunedQueries(tower) if tuned else None,
        **changes,
    )
    randomise(model.seve, 0.2)
    if tuned:
        randomise(model.queries, 0.2)
    return model


def inputs(tower, batch: int = 2, proposals: int = 4, names: int = 5):
    images = torch.randn(batch, 3, 48, 40)
    masks = torch.randn(batch, proposals, 12, 10) - 1.5
    masks[0, 1] = -9.0  # covers nothing
    return images, masks, torch.randn(names, tower.embed_dim)


def literal_bias(mask_logits: torch.Tensor, grid: tuple[int, int], patch: int) -> torch.Tensor:
    """Eq. 5, pixel by pixel."""
    size = (grid[0] * patch, grid[1] * patch)
    pixels = F.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False)
    bias = torch.zeros(*mask_logits.shape[:2], grid[0] * grid[1])
    for b in range(len(mask_logits)):
        for q in range(mask_logits.shape[1]):
            for row in range(grid[0]):
                for column in range(grid[1]):
                    own = pixels[b, q, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
                    if not any(float(pixel) > 0 for pixel in own.flatten()):
                        bias[b, q, row * grid[1] + column] = -math.inf
            if torch.isinf(bias[b, q]).all():
                bias[b, q] = 0
    return bias


def literal_attention(query, keys, values, bias=None):
    """One query of one head."""
    scores = [float(query @ key) / math.sqrt(len(query)) for key in keys]
    if bias is not None:
        scores = [score + float(own) for score, own in zip(scores, bias, strict=True)]
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    return sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)


def literal_heads(query, keys, values, heads, bias=None):
    parts = [x.chunk(heads, dim=-1) for x in (query, keys, values)]
    return torch.cat([literal_attention(q, k, v, bias) for q, k, v in zip(*parts, strict=True)])


def printed_query(g, token: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Eqs. 3 and 4, number by number: softmax(q k^T) v, nothing else."""
    q, keys, values = g.g_q.weight @ token, [g.g_k.weight @ c for c in classes], [g.g_v.weight @ c for c in classes]
    scores = [sum(float(a) * float(b) for a, b in zip(q, key, strict=True)) for key in keys]
    shares = [math.exp(score - max(scores)) for score in scores]
    return sum(share / sum(shares) * value for share, value in zip(shares, values, strict=True))


def literal_embeddings(model: MaskTokenTower, images, masks, class_tokens):
    """Eqs. 1 to 5 for one mask token after the other; Eqs. 3 and 4 in either form."""
    tower, patch = model.tower, model.tower.patch_size
    bias = literal_bias(masks, (images.shape[2] // patch, images.shape[3] // patch), patch)
    classes = F.normalize(class_tokens, dim=-1) * math.sqrt(class_tokens.shape[1])
    x = tower.embed(images)
    tokens = [[x[b, 0] for _ in range(masks.shape[1])] for b in range(len(x))]
    for layer, block in enumerate(tower.blocks):
        attention = block.attn
        _, w_k, w_v = attention.in_proj_weight.chunk(3)
        _, b_k, b_v = attention.in_proj_bias.chunk(3)
        g = model.seve.sets[min(layer, len(model.seve.sets) - 1)]
        for b in range(len(x)):
            normed_image = block.ln_1(x[b, 1:])
            keys, values = F.linear(normed_image, w_k, b_k), F.linear(normed_image, w_v, b_v)
            for number, token in enumerate(tokens[b]):
                n = block.ln_1(token)
                if model.seve.form == "printed":
                    n = printed_query(g, n, classes)
                else:
                    found = literal_heads(g.g_q(n), g.g_k(classes), g.g_v(classes), g.heads)
                    n = n + g.g_o.weight @ found
                query = model.queries.weight[layer] @ n + model.queries.bias[layer]
                mixed = literal_heads(query, keys, values, attention.num_heads, bias[b, number])
                token = token + block.ls_1(attention.out_proj(mixed))
                tokens[b][number] = token + block.ls_2(block.mlp(block.ln_2(token)))
        x = run_block(block, x, PlainProjections.of(attention))
    return tower.project(torch.stack([torch.stack(own) for own in tokens]))


@pytest.mark.parametrize("form", ["added", "printed"])
@pytest.mark.parametrize("kind", ["vit", "vit, per layer", "eva"])
def test_embeddings_are_the_equations_written_as_loops(kind, form):
    tower = eva_tower() if kind == "eva" else vit_tower()
    model = mask_tower(tower, shared="per layer" not in kind, form=form)
    images, masks, class_tokens = inputs(tower)
    with torch.no_grad():
        expected = literal_embeddings(model, images, masks, class_tokens)
    torch.testing.assert_close(model(images, masks, class_tokens), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [vit_tower, eva_tower])
def test_image_tokens_are_clips(make):
    tower = make()
    model = mask_tower(tower)
    images, *_ = inputs(tower)
    x = tower.embed(images)
    for block, state in zip(tower.blocks, model.image_states(images), strict=True):
        assert torch.equal(state.tokens, x)
        x = run_block(block, x, PlainProjections.of(block.attn))


def test_a_mask_token_without_seve_under_all_patches_is_the_cls_token_that_attends_to_patches_alone():
    tower = vit_tower(layers=1)
    images = torch.randn(1, 3, 64, 64)
    x = tower.embed(images)
    block = tower.blocks[0]
    q, k, v = PlainProjections.of(block.attn).qkv(block.ln_1(x))
    mixed = literal_heads(q[0, 0], k[0, 1:], v[0, 1:], block.attn.num_heads)
    token = x[0, 0] + block.attn.out_proj(mixed)
    token = token + block.mlp(block.ln_2(token))
    embeddings = MaskTokenTower(tower)(images, torch.full((1, 2, 8, 8), 5.0))
    torch.testing.assert_close(embeddings[0], tower.project(token).expand(2, -1), rtol=1e-4, atol=1e-5)


def test_seve_and_tuned_queries_start_as_plain_clip():
    tower = vit_tower()
    images, masks, class_tokens = inputs(tower)
    seve = SEVE(width=tower.width, class_width=tower.embed_dim, layers=tower.layers)
    started = MaskTokenTower(tower, seve, TunedQueries(tower))(images, masks, class_tokens)
    torch.testing.assert_close(started, MaskTokenTower(tower)(images, masks))


def test_the_printed_form_takes_the_mask_tokens_place_and_starts_at_random():
    seve = SEVE(width=16, class_width=12, layers=1, inner_width=8, form="printed")
    tokens = torch.randn(2, 3, 16)
    one_class = torch.randn(1, 12)
    found = seve(0, tokens, seve.classes(one_class))
    value = seve.sets[0].g_v(F.normalize(one_class) * math.sqrt(12))
    torch.testing.assert_close(found, value.expand(2, 3, -1))
    assert 0.2 < float(found.detach().square().mean()) < 5
    with pytest.raises(ValueError, match="no heads"):
        SEVE(width=16, class_width=12, layers=1, heads=2, form="printed")
    with pytest.raises(ValueError, match="'added' or 'printed'"):
        SEVE(width=16, class_width=12, layers=1, form="replaced")


def test_mask_bias_is_the_definition_pixel_by_pixel():
    masks = torch.randn(2, 5, 9, 7) - 1.2
    masks[1, 2] = -3.0
    bias = mask_bias(masks, (4, 3), 8, chunk=3)
    assert torch.equal(bias, literal_bias(masks, (4, 3), 8))
    assert (bias[1, 2] == 0).all() and torch.isinf(bias).any()


def test_one_pixel_covers_its_patch_and_no_other():
    masks = torch.full((1, 1, 16, 24), -1.0)
    masks[0, 0, 7, 8] = 0.5  # the last row of the first patch row, the first column of the second patch
    bias = mask_bias(masks, (2, 3), 8)
    assert bias[0, 0].tolist() == [-math.inf, 0.0, -math.inf, -math.inf, -math.inf, -math.inf]


def test_gradient_through_the_bias_is_log_sigmoids_where_attended():
    masks = (torch.randn(1, 3, 8, 8) - 1).requires_grad_(True)
    factors = torch.randn(1, 3, 4)
    assert not mask_bias(masks, (2, 2), 4).requires_grad
    bias = mask_bias(masks, (2, 2), 4, gradient="straight_through")
    assert torch.equal(bias.detach(), mask_bias(masks, (2, 2), 4))
    covered = torch.isfinite(bias)
    (bias[covered] * factors[covered]).sum().backward()
    expected = torch.zeros_like(masks)
    for q in range(3):
        for patch in range(4):
            row, column = divmod(patch, 2)
            own = masks.detach()[0, q, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
            place = own.argmax()
            slope = torch.sigmoid(-own.max()) * factors[0, q, patch] * covered[0, q, patch]
            expected[0, q, row * 4 + place // 4, column * 4 + place % 4] = slope
    torch.testing.assert_close(masks.grad, expected)


def test_patch_logits_do_not_depend_on_how_many_masks_are_worked_on_at_once():
    masks = torch.randn(2, 5, 9, 7)
    assert torch.equal(patch_logits(masks, (3, 3), 8, chunk=1), patch_logits(masks, (3, 3), 8, chunk=100))


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_distribution_adapter_starts_as_the_identity_and_has_its_depth(depth):
    adapter = DistributionAdapter(depth=depth, channels=4)
    masks = 5 * torch.randn(2, 3, 6, 7)
    assert torch.equal(adapter(masks), masks)
    assert [tuple(c.kernel_size) for c in adapter.convolutions] == [(3, 3)] * depth


def test_distribution_adapter_is_its_convolutions_on_each_mask():
    torch.manual_seed(0)
    adapter = DistributionAdapter(depth=2, channels=3, chunk=2)
    randomise(adapter, 0.5)
    masks = torch.randn(1, 3, 5, 4)
    adapted = adapter(masks)
    first, second = adapter.convolutions
    padded = F.pad(masks, (1, 1, 1, 1))
    for q in range(3):
        hidden = torch.zeros(3, 5, 4)
        for c in range(3):
            for y in range(5):
                for x in range(4):
                    hidden[c, y, x] = (first.weight[c, 0] * padded[0, q, y : y + 3, x : x + 3]).sum() + first.bias[c]
        hidden = F.pad(F.gelu(hidden), (1, 1, 1, 1))
        for y in range(5):
            for x in range(4):
                change = (second.weight[0] * hidden[:, y : y + 3, x : x + 3]).sum() + second.bias[0]
                torch.testing.assert_close(adapted[0, q, y, x], masks[0, q, y, x] + change)


class LargestTensor(TorchDispatchMode):
    """Watches the size of every tensor that an operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return result


def test_attention_to_many_classes_never_holds_all_weights():
    torch.manual_seed(0)
    attention = ClassAttention(width=48, class_width=32, inner_width=32, heads=2)
    randomise(attention, 0.3)
    tokens, names = torch.randn(2, 300, 48, requires_grad=True), torch.randn(847, 32)
    with LargestTensor() as largest:
        found = attention(tokens, attention.classes(names))
        found.square().sum().backward()
    assert largest.numbers <= 2 * (2 * 300 + 847) * 48  # the weights of one head alone would be 600 x 847
    gradient, tokens.grad = tokens.grad, None
    q, k, v = attention.g_q(tokens), attention.g_k(names), attention.g_v(names)
    whole = [
        torch.softmax(a @ b.T / math.sqrt(16), dim=-1) @ c
        for a, b, c in zip(q.chunk(2, -1), k.chunk(2, -1), v.chunk(2, -1), strict=True)
    ]
    expected = attention.g_o(torch.cat(whole, dim=-1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    expected.square().sum().backward()
    torch.testing.assert_close(gradient, tokens.grad, rtol=1e-3, atol=2e-5 * float(tokens.grad.abs().max()))


def test_seve_in_some_blocks_only_and_with_a_trained_norm():
    seve = SEVE(width=8, class_width=6, layers=4, inner_width=4, heads=2, shared=False, carried_by=(1, 3))
    randomise(seve, 0.5)
    tokens, names = torch.randn(1, 2, 8), torch.randn(3, 6)
    classes = seve.classes(names)
    assert len(seve.sets) == len(classes) == 2
    assert torch.equal(seve(0, tokens, classes), tokens)
    torch.testing.assert_close(seve(3, tokens, classes), tokens + seve.sets[1](tokens, classes[1]))
    normed = SEVE(width=8, class_width=6, layers=1, inner_width=4, heads=2, class_norm="layer")
    expected = normed.sets[0].g_k(F.layer_norm(names, (6,)))
    torch.testing.assert_close(normed.classes(names)[0].keys.transpose(0, 1).flatten(1), expected)


def test_parameters_of_vit_l14_are_26_million():
    config = dict(
        embed_dim=768,
        vision_cfg=dict(image_size=336, layers=24, width=1024, patch_size=14),
        text_cfg=dict(context_length=77, vocab_size=49408, width=64, heads=1, layers=1),
    )
    with torch.device("meta"):
        tower = ImageTower(build_clip(config).visual)
        queries = TunedQueries(tower)
        seve = SEVE(width=1024, class_width=768, layers=24)
    count = [sum(p.numel() for p in module.parameters()) for module in (queries, seve, DistributionAdapter())]
    assert count == [24 * 1024 * 1025, 224 * 2 * (1024 + 768), 16 * 10 + 16 * 9 + 1]
    assert round(sum(count) / 1e6) == 26


@pytest.mark.parametrize("make", [vit_tower, eva_tower])
def test_folded_query_rows_are_the_trained_ones_and_nothing_else(make):
    tower = make()
    model = mask_tower(tower)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    folded = model.queries.folded(tower)
    images, masks, class_tokens = inputs(tower)
    x = torch.randn(5, tower.width)
    expected = [model.queries(layer, x) for layer in range(tower.layers)]
    keys = [state.keys for state in model.image_states(images)]
    for name, value in tower.state_dict().items():
        assert torch.equal(value, before[name])
    tower.load_state_dict({**before, **folded})
    for layer, block in enumerate(tower.blocks):
        projections = PlainProjections.of(block.attn)
        torch.testing.assert_close(projections.qkv(x)[0], expected[layer])
    changed = {name for name in before if not torch.equal(before[name], tower.state_dict()[name])}
    assert changed == set(folded)
    tower.load_state_dict(before)
    for old, state in zip(keys, model.image_states(images), strict=True):
        assert torch.equal(old, state.keys)


def test_gradients_reach_seve_and_queries_and_nothing_of_clip():
    tower = vit_tower()
    model = mask_tower(tower)
    images, masks, class_tokens = inputs(tower)
    model(images, masks, class_tokens).square().sum().backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == {name for name, _ in model.named_parameters() if not name.startswith("tower.")}


def test_nothing_of_the_image_tokens_is_kept_for_the_backward_pass_where_they_are_frozen():
    model = mask_tower(vit_tower())
    images, *_ = inputs(model.tower)
    assert not any(tensor.requires_grad for state in model.image_states(images) for tensor in state)
    model.tower.requires_grad_(True)
    assert all(state.keys.requires_grad for state in model.image_states(images))


@pytest.mark.parametrize("full", [False, True], ids=["lora", "full"])
def test_checkpointed_blocks_give_the_same_gradients(full):
    tower = vit_tower()
    images, masks, class_tokens = inputs(tower)
    adapter = None
    if full:
        tower.requires_grad_(True)
    else:
        sizes = dict(image_layers=3, text_layers=1, image_width=48, text_width=32)
        adapter = build_adapter(dict(type="LoRA", rank=4, text=False), **sizes)
        randomise(adapter, 0.2)
    model = mask_tower(tower, tuned=False, adapter=adapter)
    gradients = []
    for again in (False, True):
        model.zero_grad()
        model.checkpoint_blocks = again
        model(images, masks, class_tokens).square().sum().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    trained = tower if full else adapter
    assert len(gradients[0]) >= len(list(trained.parameters())) - 4
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, msg=name)


def test_lora_is_a_tower_with_its_product_added_for_all_tokens():
    tower = vit_tower()
    images, masks, class_tokens = inputs(tower)
    sizes = dict(image_layers=3, text_layers=1, image_width=48, text_width=32)
    adapter = build_adapter(dict(type="LoRA", rank=4, text=False), **sizes)
    randomise(adapter, 0.2)
    model = mask_tower(tower, tuned=False, adapter=adapter)
    adapted = model(images, masks, class_tokens)
    state = {name: value.clone() for name, value in tower.state_dict().items()}
    tower.load_state_dict({**state, **adapter.folded("image", tower)})
    plain = MaskTokenTower(tower, model.seve)(images, masks, class_tokens)
    torch.testing.assert_close(adapted, plain, rtol=1e-4, atol=1e-5)


def test_bad_inputs_are_named():
    tower = vit_tower(layers=1)
    sizes = dict(width=48, class_width=32, layers=1)
    model = mask_tower(tower)
    images, masks, class_tokens = inputs(tower)
    with pytest.raises(ValueError, match=r"need mask logits \[2, Q, h, w\]"):
        model(images, masks[:1], class_tokens)
    with pytest.raises(ValueError, match="at least one proposal"):
        model(images, masks[:, :0], class_tokens)
    with pytest.raises(ValueError, match="set a vocabulary"):
        model(images, masks)
    with pytest.raises(ValueError, match=r"class tokens \[T, 32\]"):
        model(images, masks, class_tokens[:, :8])
    with pytest.raises(ValueError, match="multiples of its patch"):
        model(images[..., :-1], masks, class_tokens)
    with pytest.raises(ValueError, match="no multiple of 3 heads"):
        SEVE(**sizes, inner_width=16, heads=3)
    with pytest.raises(ValueError, match="blocks 0 to 0"):
        SEVE(**sizes, carried_by=(1,))
    with pytest.raises(ValueError, match="class_norm"):
        SEVE(**sizes, class_norm="batch")
    with pytest.raises(ValueError, match="depth"):
        DistributionAdapter(depth=-1)
    with pytest.raises(ValueError, match="straight_through"):
        mask_bias(masks, (6, 5), 8, gradient="soft")
    adapters = dict(image_layers=1, text_layers=1, image_width=48, text_width=32)
    with pytest.raises(ValueError, match="exclude each other"):
        MaskTokenTower(tower, queries=TunedQueries(tower), adapter=build_adapter(dict(type="LoRA"), **adapters))
    with pytest.raises(ValueError, match="more than change weights"):
        MaskTokenTower(tower, adapter=build_adapter(dict(type="VPT"), **adapters))
