"""The methods of the field against loops written from their formulas, and their identities."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from scipy import sparse
from tiny_features import TinyPatchFeatures
from tiny_training_free import NAMES, textured_images, tiny_training_free

from hclip_mmseg.clip.attention import PlainProjections
from hclip_mmseg.reference import middle_blocks
from hclip_mmseg.reference import training_free as literal
from hclip_mmseg.training_free import PAMR, GlobalAggregation, LabelPropagation, PixelPropagation
from hclip_mmseg.training_free.dense import DenseTokens, ImageContext, Trunk
from hclip_mmseg.training_free.label_propagation import joined_weights, solve, solve_dense
from hclip_mmseg.training_free.last_attention import Form, neighbour_window, run_last_block
from hclip_mmseg.training_free.protocol import Settings
from hclip_mmseg.training_free.proxy_attention import proxy_weights, resized_tokens
from hclip_mmseg.training_free.residual_attention import SemanticFeedback
from hclip_mmseg.training_free.self_calibration import mended, own_outlier_factor
from hclip_mmseg.training_free.timm_features import CLIP_MEAN, CLIP_STD
from hclip_mmseg.training_free.windows import Windows, WindowScores

SMALL = dict(short_side=40, window=32, stride=16)
FEATURES = dict(type="TinyPatchFeatures")


@lru_cache
def base():
    return tiny_training_free(attention="value", regions=None, protocol=dict(type="sclip", **SMALL))


def model_of(attention, **windowed):
    protocol = dict(type="sclip", **SMALL)
    return tiny_training_free(attention=attention, regions=None, protocol=protocol, windowed=windowed)


def trunk():
    return Trunk(base().backbone.image_tower, base().backbone.projections("image"))


def context_of(pixels, **settings):
    windows = Windows.of(tuple(pixels.shape[-2:]), Settings(**{"window": 0, **settings}))
    return ImageContext(pixels[0], windows, lambda dense: pytest.fail("not asked for"))


def projected(dense: DenseTokens):
    return base().backbone.image_tower.project(dense.tokens)


def compared(method, pixels, dense):
    """A method's tokens of each of several windows of one size, beside the loops'."""
    found = method(trunk(), pixels, context_of(pixels))
    for own, tokens in zip(pixels, projected(found), strict=True):
        expected, grid = dense(own)
        assert grid == found.grid
        torch.testing.assert_close(tokens, expected, atol=2e-4, rtol=2e-3)


# ---- the last block


def test_attentions_of_sum_one_and_windows():
    window = neighbour_window((3, 5), 5.0)
    torch.testing.assert_close(window, literal.neighbour_window((3, 5), 5.0))
    torch.testing.assert_close(neighbour_window((3, 5), 1e-3)[1:, 1:], torch.eye(15))  # sigma to 0: each patch alone
    assert neighbour_window((3, 5), 1e6)[1:, 1:].eq(1).all()  # to infinity: a constant
    with pytest.raises(ValueError, match="sigma must be above 0"):
        neighbour_window((3, 5), 0.0)


@torch.no_grad()
def test_forms_with_and_without_residual_and_mlp():
    tower = base().backbone.image_tower
    block, image = tower.blocks[-1], textured_images(1, 40, 24)
    x = literal.before_last(tower, image[0])[None]
    projections = PlainProjections.of(block.attn)
    for residual in (False, True):
        for mlp in (False, True):
            found = run_last_block(block, x, projections, Form(("kk",), 3.0, residual, mlp), grid=(5, 3))
            parts = literal.heads_of(block, x[0])
            weights = [literal.attention_weights("naclip", *part, (5, 3), 3.0) for part in parts]
            assert all(w.sum(dim=-1).allclose(torch.ones(16)) for w in weights)
            y = literal.out(block, [w @ v for w, (_, _, v) in zip(weights, parts, strict=True)])
            y = x[0] + y if residual else y
            y = y + block.mlp(block.ln_2(y)) if mlp else y
            torch.testing.assert_close(found[0], y, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_an_endless_window_changes_nothing_between_patches():
    tower = base().backbone.image_tower
    block, projections = tower.blocks[-1], PlainProjections.of(tower.blocks[-1].attn)
    x = torch.randn(1, 13, 48)
    allowed = torch.ones(1, 13, 13, dtype=torch.bool)
    allowed[:, 1:, 0] = False  # without the CLS column
    run = [
        run_last_block(block, x, projections, Form(("kk",), sigma, False, False), allowed=allowed, grid=(3, 4))
        for sigma in (1e6, None)
    ]
    torch.testing.assert_close(run[0][:, 1:], run[1][:, 1:])


def test_a_form_is_changed_in_the_config():
    model = model_of(dict(type="naclip", sigma=2.0, mlp=True))
    assert model.backbone.attention == Form(("kk",), 2.0, False, True)
    with pytest.raises(ValueError, match="attention 'naclip' has no setting 'sigmas'; did you mean 'sigma'"):
        model_of(dict(type="naclip", sigmas=2.0))
    with pytest.raises(ValueError, match="pairs of the last block's attention are of q, k and v"):
        model_of(dict(type="naclip", pairs=("qx",)))


@pytest.mark.parametrize(("depth", "iterations"), [(1, 1), (3, 0), (4, 2)])
@torch.no_grad()
def test_gem(depth, iterations):
    pixels = textured_images(2, 40, 24)
    method = MODELS.build(dict(type="GEMAttention", depth=depth, iterations=iterations))
    compared(method, pixels, literal.dense_of_gem(base().backbone.image_tower, depth, iterations))
    with pytest.raises(ValueError, match="depth 5 is more than the image tower's 4 blocks"):
        model_of(dict(type="GEMAttention", depth=5))


@torch.no_grad()
def test_recursive_attention():
    pixels = textured_images(2, 40, 24)
    method = MODELS.build(dict(type="RecursiveAttention", scale=7.0))
    compared(method, pixels, literal.dense_of_recursion(base().backbone.image_tower, 7.0))


# ---- affinity from elsewhere


@pytest.mark.parametrize("shape", [(40, 24), (8, 32)])
@torch.no_grad()
def test_proxy_attention(shape):
    pixels, features = textured_images(2, *shape), TinyPatchFeatures()
    method = MODELS.build(dict(type="ProxyAttention", features=FEATURES, beta=1.1, gamma=4.0))
    grid = features.grid_of(*shape)

    def patches(own):
        return features(own[None], grid)[0, 1:], grid

    compared(method, pixels, literal.dense_of_proxy(base().backbone.image_tower, patches, 1.1, 4.0))


@torch.no_grad()
def test_one_hot_features_give_the_value_path():
    weights = proxy_weights(torch.eye(30), 1.2, 3.0)
    # others' cosines of 0 lie below beta times the mean, 1.2 / 30
    torch.testing.assert_close(weights, torch.eye(30))
    for features in (torch.randn(20, 6), torch.ones(20, 6)):
        rows = proxy_weights(F.normalize(features, dim=-1), 1.2, 3.0)
        torch.testing.assert_close(rows.sum(dim=-1), torch.ones(20))


@torch.no_grad()
def test_trident_compares_with_the_mean_over_all_windows():
    pixels = torch.randn(3, 3, 32, 40) * torch.tensor([0.2, 1.0, 3.0]).view(3, 1, 1, 1)
    method = MODELS.build(dict(type="ProxyAttention", features=FEATURES, together=True))
    grid = method.features.grid_of(32, 40)
    features = method.features(pixels, grid)[:, 1:]
    products = features @ features.mT
    scores = 3 * (products - 1.2 * products.mean())
    scores = scores.masked_fill((scores < 0) & ~torch.eye(scores.shape[1], dtype=torch.bool), -torch.inf)
    x, _ = trunk().run(pixels)
    values = resized_tokens(trunk().values(x)[:, 1:], trunk().tower.grid_of(32, 40), grid)
    found = method(trunk(), pixels, context_of(pixels)).tokens
    torch.testing.assert_close(found, trunk().out(scores.softmax(dim=-1) @ values), atol=1e-5, rtol=1e-4)
    apart = MODELS.build(dict(type="ProxyAttention", features=FEATURES))
    assert not torch.allclose(found, apart(trunk(), pixels, context_of(pixels)).tokens, atol=1e-4)


# ---- over the whole image


@torch.no_grad()
def test_global_aggregation():
    maps = torch.randn(2, 6, 4, 5)
    found = GlobalAggregation(7.0, tile=3)(maps)
    for own, mixed in zip(maps, found, strict=True):
        expected = literal.global_aggregation(own.flatten(1).T, 7.0)
        torch.testing.assert_close(mixed.flatten(1).T, expected, atol=1e-4, rtol=1e-3)
    even = GlobalAggregation(0.0)(maps)
    torch.testing.assert_close(even, maps.mean(dim=(2, 3), keepdim=True).expand_as(maps))


def test_aggregation_wants_stitched_tokens():
    with pytest.raises(ValueError, match="set stitch=True"):
        model_of("value", aggregation=dict(type="GlobalAggregation"))


@pytest.mark.parametrize(
    ("neighbours", "settings"),  # where windows overlap patches are the same, and which nine are nearest is anyone's
    [(9, dict()), (99, dict(window=24, stride=8)), (100, dict(window=24, stride=16, pad=40))],
)
@torch.no_grad()
def test_label_propagation_is_a_dense_solve(neighbours, settings):
    pixels = textured_images(1, 40, 32)
    windows = Windows.of((40, 32), Settings(**{"window": 0, **settings}))
    grid = (windows.padded[0] // 8, windows.padded[1] // 8)
    scores = WindowScores(torch.randn(len(windows.places), 3, *grid), windows)
    method = LabelPropagation(FEATURES, neighbours=neighbours, power=2.0, decay=0.05, alpha=0.8)
    found = method(scores, context_of(pixels, **settings)).scores
    cut = windows.cut(pixels[0])
    features, middles = [], []
    for (top, left), own in zip(windows.places, cut, strict=True):
        features += [f / max(f.norm(), 1e-12) for f in method.features.last_qkv(own[None], grid)[2][0]]
        for i in range(grid[0]):
            for j in range(grid[1]):
                middles.append([top - windows.margin[0] + 8 * i + 4, left - windows.margin[1] + 8 * j + 4])
    own = scores.scores.flatten(2).transpose(1, 2).flatten(0, 1)
    middles = torch.tensor(middles, dtype=torch.float)
    expected = literal.propagated(own, torch.stack(features), middles, neighbours, 2.0, 0.05, 0.8)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2).flatten(0, 1).double(), expected, atol=1e-4, rtol=1e-3)


def test_spreading():
    weights = torch.rand(12, 12)
    weights = weights + weights.T
    weights[3], weights[:, 3] = 0, 0  # joined to nothing
    scores = torch.randn(12, 4)
    scores[:, 1] = 0
    found = solve(sparse.csr_array(weights.numpy()), scores, 0.9, 1e-6, 50)
    torch.testing.assert_close(found.double(), literal.spread(weights.double(), scores, 0.9), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found[3], scores[3])
    torch.testing.assert_close(solve_dense(weights.clone(), scores, 0.9), found, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(solve(sparse.csr_array(weights.numpy()), scores, 0.0, 1e-6, 50), scores)
    with pytest.raises(ValueError, match="from 0 to below 1"):
        PixelPropagation(alpha=1.0)


@pytest.mark.parametrize("alpha", [0.8, 0.9995])
def test_a_sparse_graph_is_the_dense_one(alpha):
    unit = torch.nn.functional.normalize(torch.randn(50, 6), dim=-1)
    middles, scores = 100 * torch.rand(50, 2), torch.randn(50, 3)
    method = LabelPropagation(FEATURES, neighbours=5, decay=0.02, alpha=alpha, steps=500)
    assert len(unit) > 8 * method.neighbours
    sparsely = method.spread(unit, middles, scores)
    expected = literal.propagated(scores, unit, middles, 5, 3.0, 0.02, alpha)
    torch.testing.assert_close(sparsely.double(), expected, atol=1e-2 if alpha > 0.9 else 1e-4, rtol=1e-3)
    densely = solve_dense(joined_weights(unit, middles, 5, 3.0, 0.02), scores, alpha)
    torch.testing.assert_close(densely.double(), expected, atol=1e-2 if alpha > 0.9 else 1e-4, rtol=1e-3)


@torch.no_grad()
def test_pixel_propagation_is_a_dense_solve():
    rgb = np.random.default_rng(0).integers(0, 256, (7, 9, 3)).astype(np.float32)
    rgb[:, :5] = rgb[0, 0]
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (CLIP_MEAN, CLIP_STD))
    image = (torch.from_numpy(rgb).permute(2, 0, 1) - mean) / std
    maps = torch.randn(5, 7, 9)
    method = PixelPropagation(side=5, tau=0.2, alpha=0.7, names_at_once=2)
    lab = cv2.cvtColor(rgb / 255, cv2.COLOR_RGB2LAB) / np.array([100, 128, 128], np.float32)
    weights = torch.zeros(63, 63, dtype=torch.double)
    for a in range(63):
        for b in range(63):
            if max(abs(a // 9 - b // 9), abs(a % 9 - b % 9)) <= 2:
                far = np.linalg.norm(lab[a // 9, a % 9] - lab[b // 9, b % 9])
                weights[a, b] = float(np.exp(-far / 0.2))
    expected = literal.spread(weights, maps.flatten(1).T, 0.7)
    torch.testing.assert_close(method.prepared(image)(maps).flatten(1).T.double(), expected, atol=1e-4, rtol=1e-3)


# ---- along the image's edges


@torch.no_grad()
def test_pamr():
    image, maps = torch.randn(3, 6, 8), torch.randn(3, 6, 8)
    found = PAMR(steps=2, dilations=(1, 3), budget=1)
    torch.testing.assert_close(found.prepared(image)(maps), literal.pamr(image, maps, 2, (1, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.weights(image).sum(dim=0), torch.ones(6, 8))
    even = torch.full((2, 6, 8), 0.7)
    torch.testing.assert_close(found.prepared(image)(even), even)
    assert PAMR(steps=0).prepared(image)(maps).equal(maps)
    assert PAMR(steps=3).prepared(torch.zeros(3, 6, 8))(maps).isfinite().all(), "an image of one colour"


# ---- together


PARTS = {
    "stitch": dict(stitch=True),
    "scga": dict(stitch=True, aggregation=dict(type="GlobalAggregation")),
    "lposs": dict(propagation=dict(type="LabelPropagation", features=FEATURES, neighbours=20)),
    "stitched lposs": dict(stitch=True, propagation=dict(type="LabelPropagation", features=FEATURES, neighbours=20)),
    "pamr": dict(smoothing=dict(type="PAMR", steps=2, dilations=(2, 4))),
    "lposs+": dict(smoothing=dict(type="PixelPropagation", side=5)),
    "denoising": dict(absent_below=0.5),
}
ATTENTIONS = {
    "naclip": "naclip",
    "gem": dict(type="GEMAttention", depth=2),
    "recursive": dict(type="RecursiveAttention"),
    "proxy": dict(type="ProxyAttention", features=FEATURES),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("attention", ["naclip", "proxy"])
@torch.no_grad()
def test_parts_go_together_and_a_batch_is_one_by_one(part, attention):
    model = model_of(ATTENTIONS[attention], **PARTS[part])
    shapes = [(50, 41), (64, 40)]
    images = [textured_images(1, *shape)[0] for shape in shapes]
    batch = torch.stack([F.pad(x, (0, 64 - x.shape[2], 0, 64 - x.shape[1])) for x in images])
    samples = [
        SegDataSample(metainfo=dict(ori_shape=shape, padding_size=[0, 64 - shape[1], 0, 64 - shape[0]]))
        for shape in shapes
    ]
    together = [sample.pred_sem_seg.data for sample in model.predict(batch, samples)]
    for image, shape, labels in zip(images, shapes, together, strict=True):
        alone = model.predict(image[None], [SegDataSample(metainfo=dict(ori_shape=shape))])[0]
        assert labels.equal(alone.pred_sem_seg.data) and labels.shape[1:] == shape
        assert alone.seg_logits.data.isfinite().all() and len(alone.seg_logits.data) == len(NAMES)


@torch.no_grad()
def test_stitching_one_window_is_no_stitching():
    image = textured_images(1, 40, 64)
    labels = []
    for stitch in (False, True):
        model = tiny_training_free(
            attention="value", regions=None, protocol=dict(type="sclip", short_side=40, window=0),
            windowed=dict(stitch=stitch),
        )  # fmt: skip
        labels.append(model.predict(image)[0].pred_sem_seg.data)
    assert labels[0].equal(labels[1])


def test_methods_of_windows_need_a_protocol():
    with pytest.raises(ValueError, match="ProxyAttention reads windows: set protocol"):
        tiny_training_free(attention=ATTENTIONS["proxy"], regions=None)


# ---- middle blocks


@pytest.mark.parametrize(("form", "full"), [("naclip", False), ("sclip", True)])
@torch.no_grad()
def test_residual_attention(form, full):
    pixels, tower = textured_images(2, 40, 24), base().backbone.image_tower
    method = MODELS.build(dict(type="ResidualAttention", form=form, layers=(0, -2), tau=2.0, weight=0.4))
    found = method(trunk(), pixels, context_of(pixels))
    for own, tokens in zip(pixels, found.tokens, strict=True):
        expected = middle_blocks.residual_attention(tower, own, form, (0, 2), 2.0, 0.4, full)
        torch.testing.assert_close(tokens, expected, atol=1e-4, rtol=1e-3)
    with pytest.raises(ValueError, match="must be blocks before the last of the image tower's 4"):
        model_of(dict(type="ResidualAttention"))
    with pytest.raises(ValueError, match="mixes attentions, and the form 'value' has none"):
        MODELS.build(dict(type="ResidualAttention", form="value"))


@pytest.mark.parametrize("line", ["begun", "whole"])
@pytest.mark.parametrize("labels", [[[0, 1, 0, 2]], [[0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1]], [[3]]])
def test_what_a_first_result_finds_alike(labels, line):
    labels = torch.tensor(labels)
    for sigma in (0.5, 5.0):
        expected = middle_blocks.alike_by_labels(labels, sigma, line == "begun")
        found = SemanticFeedback(sigma=sigma, line=line).alike(labels)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_how_far_the_line_between_patches_is_looked_at():
    labels = torch.tensor([[0, 1] + 12 * [0]])
    begun, whole = (SemanticFeedback(sigma=0.1, line=line).alike(labels)[0] for line in ("begun", "whole"))
    assert begun[2] == begun[0], "of the line to patch 2 two thirteenths are looked at: it does not leave"
    assert whole[2] < whole[0] and begun[13] < begun[0], "to the farthest patch all of it"
    with pytest.raises(ValueError, match=r"feedback\.line must be one of begun, whole, not 'half'"):
        SemanticFeedback(line="half")


@pytest.mark.parametrize("shape", [(40, 24), (45, 31), (61, 24)])
@torch.no_grad()
def test_semantic_feedback(shape):
    """Pixels behind the last whole patch are smoothed with the others, and left out of the votes alone."""
    image, tower = textured_images(1, *shape)[0], base().backbone.image_tower
    text, rows, columns = base().text(), min(shape[0], 40) // 8, shape[1] // 8

    def classify(dense):
        tokens = F.normalize(tower.project(dense.tokens), dim=-1)
        return (tokens @ text.T).transpose(1, 2).unflatten(2, dense.grid)

    windows = Windows.of(shape, Settings(window=45, stride=16))
    feedback = dict(tau=1.7, weight=0.6, threshold=0.21)
    method = MODELS.build(dict(type="ResidualAttention", layers=(1,), tau=2.0, weight=0.4, feedback=feedback))
    whole, first = windows.cut(image)[..., : rows * 8, : columns * 8], len(windows.places) - 1
    found = method(trunk(), whole[first:], ImageContext(image, windows, classify, first=first))
    for own, tokens in zip(windows.cut(image)[first:], found.tokens, strict=True):
        size = tuple(own.shape[-2:])
        cut = own[:, : rows * 8, : columns * 8]
        first_found = middle_blocks.residual_attention(tower, cut, "naclip", (1,), 2.0, 0.4, False)
        logits = classify(DenseTokens(first_found[None], (rows, columns)))[0]
        smooth = PAMR().prepared(own)(literal.resize(logits, size))
        best, label = (40 * smooth).softmax(dim=0).max(dim=0)
        label[best < 0.21] = 0
        labels = torch.tensor(
            [
                [int(label[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].flatten().bincount().argmax()) for j in range(columns)]
                for i in range(rows)
            ]
        )
        alike = middle_blocks.alike_by_labels(labels, 5.0)
        expected = middle_blocks.residual_attention(tower, cut, "naclip", (1,), 2.0, 0.4, False, alike, (1.7, 0.6))
        torch.testing.assert_close(tokens, expected, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(
        found.tokens[0], middle_blocks.residual_attention(tower, whole[first], "naclip", (1,), 2, 0.4, False)
    )


@pytest.mark.parametrize("shape", [(48, 32), (8, 48)])
@torch.no_grad()
def test_self_calibration(shape):
    pixels, tower = textured_images(2, *shape), base().backbone.image_tower
    settings = dict(similar=1, aggregate=0, collected=(0, 1, 2), threshold=0.3, scale=2.0, cls_weight=0.4)
    method = MODELS.build(dict(type="SelfCalibration", neighbours=4, contamination=0.2, **settings))
    found = method(trunk(), pixels, context_of(pixels))
    for own, tokens in zip(pixels, found.tokens, strict=True):
        outliers = method.outliers(literal.before_last(tower, own)[1:]).tolist()
        assert any(outliers)
        expected = middle_blocks.self_calibration(tower, own, outliers, **settings)
        torch.testing.assert_close(tokens, expected, atol=1e-4, rtol=1e-3)


def test_outliers_are_mended_on_their_own_grid():
    patches = torch.arange(6.0)[None, :, None]  # 2 rows of 3
    outliers = torch.tensor([[False, True, False, False, True, False]])
    assert mended(patches, outliers, (2, 3))[0, :, 0].tolist() == [0, 2.5, 2, 3, 2.5, 5]
    assert mended(patches, torch.ones(1, 6, dtype=torch.bool), (2, 3)).equal(patches), "no neighbour is left"


@pytest.mark.parametrize("reachability", ["own", "neighbours"])
def test_outliers(reachability):
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(60, 4, generator=generator) * torch.rand(60, 1, generator=generator)
    method = MODELS.build(dict(type="SelfCalibration", neighbours=8, contamination=0.1, reachability=reachability))
    found = method.outliers(patches)
    if reachability == "own":
        factor = middle_blocks.outlier_factor(patches, 8)
        torch.testing.assert_close(own_outlier_factor(patches, 8).tolist(), factor)
        assert found.tolist() == [value > np.quantile(factor, 0.9) for value in factor]
    assert int(found.sum()) == 6
    far = torch.cat([torch.randn(40, 4), 30 * torch.ones(1, 4)])
    method = MODELS.build(dict(type="SelfCalibration", contamination=0.02, reachability=reachability))
    assert method.outliers(far).nonzero().flatten().tolist() == [40]


def test_equal_patches_do_not_stand_out():
    method = MODELS.build(dict(type="SelfCalibration"))
    assert not method.outliers(torch.ones(40, 4)).any() and not method.outliers(torch.rand(2, 4)).any()
    far = torch.cat([torch.ones(40, 4), torch.zeros(1, 4)])
    assert method.outliers(far).nonzero().flatten().tolist() == [40]
    with pytest.raises(ValueError, match="reachability must be one of own, neighbours, not 'theirs'"):
        MODELS.build(dict(type="SelfCalibration", reachability="theirs"))
