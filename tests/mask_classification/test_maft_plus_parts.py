"""MAFT+'s equations against literal loops."""

from __future__ import annotations

import math

import numpy as np
import open_clip
import pytest
import torch
from mmengine.structures import InstanceData
from tiny_maft_plus import GEOMETRY

from hclip_mmseg.clip import ConvNeXtTower, build_clip
from hclip_mmseg.mask_classification.maft_plus import (
    ContentDependentTransfer,
    FrozenTrunk,
    MaskAwareLoss,
    RepresentationCompensation,
    geometric_ensemble,
    mask_pooling,
)
from hclip_mmseg.mask_classification.maft_plus.mask_aware_loss import counted_pairs, mask_ious, rescaled


def smooth_l1(a: np.ndarray, b: np.ndarray) -> float:
    values = [0.5 * d * d if d < 1 else d - 0.5 for d in np.abs(a - b).ravel()]
    return float(np.mean(values))


def paper_pooled(x: np.ndarray, grid: int) -> np.ndarray:
    batch, channels, height, width = x.shape
    result = np.zeros((batch, channels, grid, grid))
    for row in range(grid):
        for column in range(grid):
            rows = slice(row * height // grid, math.ceil((row + 1) * height / grid))
            columns = slice(column * width // grid, math.ceil((column + 1) * width / grid))
            result[:, :, row, column] = x[:, :, rows, columns].mean(axis=(2, 3))
    return result


def line_weights(before: int, after: int) -> np.ndarray:
    """[after, before]: the weights of bilinear resizing along one axis, pixels as squares."""
    weights = np.zeros((after, before))
    for place in range(after):
        middle = min(max((place + 0.5) * before / after - 0.5, 0), before - 1)
        low = int(middle)
        high = min(low + 1, before - 1)
        weights[place, low] += 1 - (middle - low)
        weights[place, high] += middle - low
    return weights


def published_pooled(x: np.ndarray, grids: tuple[int, ...]) -> np.ndarray:
    """Each image's sums of all grids in one list, one number after another."""
    height, width = x.shape[-2:]
    square = max(height, width)
    x = np.maximum(x, 0)
    x = np.einsum("ah,bchw,dw->bcad", line_weights(height, square), x, line_weights(width, square))
    rows = []
    for image in x:
        numbers = []
        for grid in grids:
            side = width // grid
            count = square // side
            squares = [[image[:, a * side : (a + 1) * side, b * side : (b + 1) * side].mean(axis=(1, 2))
                        for b in range(count)] for a in range(count)]  # fmt: skip
            numbers += [sum(squares[a][b][c] for a in range(count)) for c in range(len(image)) for b in range(count)]
            numbers += [sum(squares[a][b][c] for b in range(count)) for c in range(len(image)) for a in range(count)]
        rows.append(numbers)
    return np.array(rows)


@pytest.mark.parametrize("size", [(8, 8), (10, 7)])
def test_representation_compensation_is_smooth_l1_of_grid_means(size):
    rng = np.random.default_rng(0)
    tuned, frozen = (rng.normal(size=(2, 3, *size), scale=3).astype(np.float32) for _ in range(2))
    expected = 0.1 * sum(smooth_l1(paper_pooled(tuned, grid), paper_pooled(frozen, grid)) for grid in (1, 2, 4))
    found = RepresentationCompensation("paper")(torch.from_numpy(tuned), torch.from_numpy(frozen))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (10, 7), (7, 12), (16, 9)])
def test_published_compensation_is_one_mean_over_all_grids(size):
    rng = np.random.default_rng(0)
    tuned, frozen = (rng.normal(size=(2, 3, *size), scale=3).astype(np.float32) for _ in range(2))
    expected = 0.1 * smooth_l1(published_pooled(tuned, (1, 2, 4)), published_pooled(frozen, (1, 2, 4)))
    found = RepresentationCompensation("published")(torch.from_numpy(tuned), torch.from_numpy(frozen))
    assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("form", ["paper", "published"])
def test_representation_compensation_trains_the_tuned_features_alone(form):
    tuned, frozen = (torch.randn(1, 3, 8, 12, requires_grad=True) for _ in range(2))
    RepresentationCompensation(form, grids=(1, 3, 6))(tuned, frozen).backward()
    assert tuned.grad.abs().sum() > 0 and frozen.grad is None


@pytest.mark.parametrize(("changes", "said"), [(dict(type="l2"), "rc.type"), (dict(grids=(0, 1)), "rc.grids")])
def test_unknown_compensation_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        RepresentationCompensation(**changes)


def sine_positions(height: int, width: int, channels: int) -> np.ndarray:
    """[height * width, channels]: sines and cosines of y, then of x, both scaled to 0..2 pi."""
    half = channels // 2
    result = np.zeros((height, width, channels))
    for y in range(height):
        for x in range(width):
            for part, value in enumerate(((y + 1) / height, (x + 1) / width)):
                for k in range(half):
                    angle = 2 * math.pi * value / 10000 ** (2 * (k // 2) / half)
                    result[y, x, part * half + k] = math.sin(angle) if k % 2 == 0 else math.cos(angle)
    return result.reshape(-1, channels)


def literal_attention(module: torch.nn.MultiheadAttention, texts, keys, values) -> np.ndarray:
    weight, bias = module.in_proj_weight.detach().double().numpy(), module.in_proj_bias.detach().double().numpy()
    width = texts.shape[1]
    q, k, v = (
        x @ weight[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width]
        for i, x in enumerate((texts, keys, values))
    )
    size = width // module.num_heads
    joined = np.zeros_like(q)
    for head in range(module.num_heads):
        part = slice(head * size, (head + 1) * size)
        for n in range(len(q)):
            scores = np.array([q[n, part] @ row / math.sqrt(size) for row in k[:, part]])
            shares = np.exp(scores - scores.max())
            joined[n, part] = (shares / shares.sum()) @ v[:, part]
    out = module.out_proj
    return joined @ out.weight.detach().double().numpy().T + out.bias.detach().double().numpy()


def layer_norm(x: np.ndarray, norm: torch.nn.LayerNorm) -> np.ndarray:
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + norm.eps)
    return normed * norm.weight.detach().double().numpy() + norm.bias.detach().double().numpy()


def linear(x: np.ndarray, layer: torch.nn.Linear) -> np.ndarray:
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def literal_layer(form: str, layer, texts, features, positions) -> np.ndarray:
    if form == "mlp":
        return texts + linear(np.maximum(linear(texts, layer.layers[0]), 0), layer.layers[2])
    if form == "printed":
        return layer_norm(texts + literal_attention(layer.attention, texts, features, features), layer.norm)
    read = literal_attention(layer.attention, texts, features + positions, features)
    if form == "paper":
        return texts + read
    if form == "semantic":
        return layer_norm(texts + linear(read, layer.linear), layer.norm)
    return texts + layer_norm(linear(read, layer.linear), layer.norm)


def test_the_printed_transfer_knows_no_places():
    torch.manual_seed(0)
    texts, features = torch.randn(3, 16), torch.randn(1, 16, 4, 4)
    for form, same in (("printed", True), ("paper", False)):
        transfer = ContentDependentTransfer(16, form)
        torch.nn.init.normal_(transfer.layers[0].attention.out_proj.weight)
        difference = (transfer(texts, features) - transfer(texts, features.flip(-1))).abs().max()
        assert (float(difference.detach()) < 1e-4) == same


FORMS = [("printed", 2), ("paper", 2), ("semantic", 1), ("panoptic", 1), ("mlp", 1)]


@pytest.mark.parametrize(("form", "layers"), FORMS)
def test_transfer_is_its_equations(form, layers):
    torch.manual_seed(0)
    transfer = ContentDependentTransfer(16, form)
    assert len(transfer.layers) == layers
    with torch.no_grad():
        for parameter in transfer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    texts, features = torch.randn(5, 16), torch.randn(2, 16, 3, 4)
    found = transfer(texts, features)
    positions = sine_positions(3, 4, 16)
    for image in range(2):
        keys = features[image].flatten(1).T.double().numpy()
        expected = texts.double().numpy()
        for layer in transfer.layers:
            expected = literal_layer(form, layer, expected, keys, positions)
        np.testing.assert_allclose(found[image].detach().numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("form", ["paper", "panoptic", "mlp"])
def test_transfer_starts_from_the_text_embeddings(form):
    texts = torch.randn(5, 16)
    torch.testing.assert_close(
        ContentDependentTransfer(16, form)(texts, torch.randn(2, 16, 3, 4)), texts.expand(2, -1, -1)
    )


@pytest.mark.parametrize(
    ("arguments", "said"), [((16, "both"), "cdt.type"), ((18,), "multiple of 4"), ((12,), "8 heads")]
)
def test_unknown_transfer_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        ContentDependentTransfer(*arguments)


def test_mask_pooling_is_the_mean_inside():
    features = torch.arange(16.0).view(1, 1, 4, 4)
    masks = torch.full((1, 3, 4, 4), -1.0)
    masks[0, 0, 0, :2] = 5
    masks[0, 1] = 1
    torch.testing.assert_close(mask_pooling(features, masks)[0, :, 0], torch.tensor([0.5, 7.5, 0.0]))


def test_mask_pooling_resizes_logits_and_passes_no_gradient_through_masks():
    features = torch.randn(2, 3, 4, 4, requires_grad=True)
    masks = torch.randn(2, 5, 8, 8, requires_grad=True)
    found = mask_pooling(features, masks)
    small = torch.nn.functional.interpolate(masks, (4, 4), mode="bilinear").detach() > 0
    for image in range(2):
        for query in range(5):
            inside = small[image, query]
            expected = features[image][:, inside].mean(dim=1) if inside.any() else torch.zeros(3)
            torch.testing.assert_close(found[image, query], expected)
    found.sum().backward()
    assert masks.grad is None and features.grad.abs().sum() > 0


def test_ious_are_counted_pixel_by_pixel():
    generator = torch.Generator().manual_seed(0)
    masks = torch.randn(5, 8, 8, generator=generator)
    targets = (torch.rand(3, 8, 8, generator=generator) > 0.6).long()
    targets[2] = 0
    found = mask_ious(masks, targets, chunk=2)
    for n in range(3):
        for q in range(5):
            inside = {(y, x) for y in range(8) for x in range(8) if masks[q, y, x] > 0}
            truth = {(y, x) for y in range(8) for x in range(8) if targets[n, y, x]}
            assert float(found[n, q]) == pytest.approx(len(inside & truth) / max(len(inside | truth), 1))


def test_ious_are_rescaled_over_the_proposals_of_a_mask():
    found = rescaled(torch.tensor([[0.2, 0.4, 0.6], [0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))


def test_of_the_instances_of_a_class_the_best_one_counts():
    ious = torch.tensor([[0.8, 0.1, 0.3], [0.2, 0.6, 0.3], [0.5, 0.9, 0.0]])
    counted = counted_pairs(ious, torch.tensor([4, 4, 7]))
    assert counted.tolist() == [[True, False, True], [False, True, False], [True, True, True]]


def test_mask_aware_loss_is_smooth_l1_over_counted_pairs():
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(3, 4, 6, generator=generator)
    masks = torch.randn(3, 4, 6, 6, generator=generator)
    targets = [
        InstanceData(labels=torch.tensor([1, 3, 1]), masks=(torch.rand(3, 6, 6, generator=generator) > 0.5).long()),
        InstanceData(labels=torch.tensor([], dtype=torch.long), masks=torch.zeros(0, 6, 6).long()),
        InstanceData(labels=torch.tensor([0]), masks=(torch.rand(1, 6, 6, generator=generator) > 0.5).long()),
    ]
    terms = []
    for image, target in enumerate(targets):
        names = np.exp(logits[image, :, :-1].numpy())
        scores = names / names.sum(axis=1, keepdims=True)
        ious = mask_ious(masks[image], target.masks).numpy() if len(target.labels) else np.zeros((0, 4))
        for n, label in enumerate(target.labels.tolist()):
            low, high = ious[n].min(), ious[n].max()
            for q in range(4):
                rivals = [m for m, other in enumerate(target.labels.tolist()) if other == label]
                if max(rivals, key=lambda m, q=q: (ious[m, q], -m)) != n:
                    continue
                difference = abs(scores[q, label] - (ious[n, q] - low) / (high - low))
                terms.append(0.5 * difference**2)  # both are in 0..1
    found = MaskAwareLoss(weight=2.0)(logits, masks, targets)
    assert float(found) == pytest.approx(2 * np.mean(terms), rel=1e-5)


def test_published_mask_aware_loss_counts_all_pairs_of_soft_masks():
    generator = torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(2, 4, 6, generator=generator)
    masks = 2 * torch.randn(2, 4, 5, 7, generator=generator)
    targets = [
        InstanceData(labels=torch.tensor([1, 3, 1]), masks=(torch.rand(3, 9, 12, generator=generator) > 0.5).long()),
        InstanceData(labels=torch.tensor([0]), masks=(torch.rand(1, 9, 12, generator=generator) > 0.5).long()),
    ]
    terms = []
    rows, columns = line_weights(5, 9), line_weights(7, 12)
    for image, target in enumerate(targets):
        names = np.exp(logits[image, :, :-1].double().numpy())
        scores = names / names.sum(axis=1, keepdims=True)
        inside = [rows @ (1 / (1 + np.exp(-mask.double().numpy()))) @ columns.T for mask in masks[image]]
        for truth, label in zip(target.masks.numpy(), target.labels.tolist(), strict=True):
            common = [(truth * mask).sum() for mask in inside]
            unions = [truth.sum() + mask.sum() - both for mask, both in zip(inside, common, strict=True)]
            shares = [both / (union + 1e-7) for both, union in zip(common, unions, strict=True)]
            low, high = min(shares), max(shares)
            for q, share in enumerate(shares):
                terms.append(0.5 * (scores[q, label] - (share - low) / (high - low + 1e-8)) ** 2)
    found = MaskAwareLoss(weight=2.0, type="published")(logits, masks, targets)
    assert float(found) == pytest.approx(2 * np.mean(terms), abs=1e-6)
    with pytest.raises(ValueError, match=r"mask_aware_loss\.type must be one of paper, published, not 'other'"):
        MaskAwareLoss(type="other")


def test_mask_aware_loss_of_nothing_is_zero_and_differentiable():
    logits = torch.randn(1, 4, 6, requires_grad=True)
    empty = [InstanceData(labels=torch.tensor([], dtype=torch.long), masks=torch.zeros(0, 6, 6).long())]
    loss = MaskAwareLoss()(logits, torch.randn(1, 4, 6, 6), empty)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_ensemble_is_the_geometric_mean():
    inner, outer = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    seen = torch.tensor([True, False, True])
    found = geometric_ensemble(inner, outer, seen, alpha=0.4, beta=0.8).exp()
    a, b = inner.softmax(-1), outer.softmax(-1)
    for name, weight in enumerate((0.4, 0.8, 0.4)):
        torch.testing.assert_close(found[..., name], a[..., name] ** (1 - weight) * b[..., name] ** weight)


def tower(frozen_stages: int = -1, **changes) -> ConvNeXtTower:
    torch.manual_seed(0)
    return ConvNeXtTower(build_clip({**GEOMETRY, **changes}, timm_trunk=True).visual, frozen_stages)


def test_tower_gives_strided_maps_and_open_clips_embedding():
    torch.manual_seed(0)
    visual = build_clip(GEOMETRY, timm_trunk=True).visual
    images = torch.randn(2, 3, 64, 96)
    expected = visual.eval()(images)
    own = ConvNeXtTower(visual).train()  # stochastic depth stays off
    maps = own(images)
    assert [tuple(each.shape[1:]) for each in maps] == [(24, 16, 24), (48, 8, 12), (96, 4, 6), (192, 4, 6)]
    assert own.strides == [4, 8, 16, 16] and own.channels == [24, 48, 96, 192]
    torch.testing.assert_close(own.project(maps[-1].mean(dim=(2, 3))), expected)


@pytest.mark.parametrize("name", ["convnext_large_d_320", "convnext_base_w_320"])
def test_real_towers_have_strides_4_to_32(name):
    with torch.device("meta"):
        model = build_clip(open_clip.get_model_config(name), timm_trunk=True)
        own = ConvNeXtTower(model.visual)
    assert own.strides == [4, 8, 16, 32]
    assert own.embed_dim == dict(convnext_large_d_320=768, convnext_base_w_320=640)[name]
    frozen = {name for name, parameter in own.named_parameters() if not parameter.requires_grad}
    assert frozen and all(name.startswith(("trunk.head.norm", "head.")) for name in frozen)


@pytest.mark.parametrize("frozen_stages", [-1, 0, 1, 2, 3, 4])
def test_frozen_stages_count_from_the_stem(frozen_stages):
    trained = {name for name, parameter in tower(frozen_stages).named_parameters() if parameter.requires_grad}
    expected = {f"trunk.stages.{stage}." for stage in range(max(frozen_stages, 0), 4)}
    expected |= {"trunk.stem."} if frozen_stages < 0 else set()
    assert {prefix for prefix in expected if any(name.startswith(prefix) for name in trained)} == expected
    assert all(name.startswith(tuple(expected)) for name in trained)


def test_frozen_copy_is_no_part_of_the_parameters_but_follows_the_module():
    own = tower()
    copy = FrozenTrunk(own)
    assert not copy.state_dict() and not list(copy.parameters())
    images = torch.randn(1, 3, 32, 32)
    before = copy(images)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(1)
    assert torch.equal(copy(images), before)
    assert copy.double()(images.double()).dtype == torch.float64


def test_other_towers_and_sizes_are_refused():
    with pytest.raises(ValueError, match="multiples of 16 pixels, got 40 x 64"):
        tower()(torch.randn(1, 3, 40, 64))
    with pytest.raises(ValueError, match="frozen_stages must be in -1..4, not 5"):
        tower(5)
    with pytest.raises(ValueError, match="VisionTransformer, not a ConvNeXt"):
        vit = dict(image_size=64, layers=1, width=48, patch_size=8, head_width=16)
        tower(vision_cfg=vit)
