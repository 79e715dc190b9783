"""Attention, correlation and regions against literal loops and hand computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.cluster import DBSCAN
from tiny_training_free import textured_images, tiny_training_free

from hclip_mmseg.reference import cliptrase as literal
from hclip_mmseg.training_free.denoising import denoised_rows, raw_rows
from hclip_mmseg.training_free.last_attention import run_last_block, within_regions
from hclip_mmseg.training_free.patch_labels import labels_of_patches
from hclip_mmseg.training_free.pixel_labels import pixel_labels
from hclip_mmseg.training_free.regions import (
    PixelRegions,
    cluster_images,
    cluster_patches,
    density_clusters,
    neighbour_graph,
    pixel_regions,
    region_means,
    smooth_maps,
    vote,
)
from hclip_mmseg.training_free.self_correlation import correlation_features, self_correlation


def close(a, b, atol=1e-5):
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), atol=atol, rtol=1e-5)


@pytest.mark.parametrize("form", ["clip", "value", "sclip", "cliptrase"])
@torch.no_grad()
def test_tokens_of_each_form(form):
    backbone = tiny_training_free(attention=form).backbone
    images = textured_images(2, 64, 80)
    view = backbone.look(images)
    for image, tokens, features in zip(images, view.tokens, view.correlation, strict=True):
        expected, correlation = literal.look(backbone.image_tower, image, form)
        close(tokens, expected, 1e-4)
        close(self_correlation(features), correlation)
    close(backbone(images)[0], view.tokens[:, 1:].transpose(1, 2).reshape(2, -1, 8, 10))


@torch.no_grad()
def test_plain_form_is_clips_own():
    backbone = tiny_training_free(attention="clip").backbone
    images = textured_images(1)
    close(backbone.look(images, correlate=False).tokens[:, 0], backbone.encode_image(images))


@torch.no_grad()
def test_attention_reaches_only_what_is_allowed():
    backbone = tiny_training_free().backbone
    block, projections = backbone.image_tower.blocks[-1], backbone.projections("image")(3)
    x = torch.randn(1, 5, 48)
    allowed = within_regions(torch.tensor([[1, 2, 1, 2]]))
    assert allowed[0, 1].tolist() == [False, True, False, True, False]
    assert allowed[0, 0].all()
    tokens = run_last_block(block, x, projections, "cliptrase", allowed=allowed)
    alone = run_last_block(block, x[:, [1, 3]], projections, "cliptrase")
    close(tokens[:, [1, 3]], alone)
    everywhere = run_last_block(block, x, projections, "cliptrase", allowed=torch.ones_like(allowed))
    close(everywhere, run_last_block(block, x, projections, "cliptrase"))
    # alone with itself, three softmaxes of one number each are three times its value
    own = run_last_block(block, x, projections, "cliptrase", allowed=torch.eye(5, dtype=torch.bool)[None])
    expected = x + projections.out(3 * projections.value(block.ln_1(x)))
    close(own, expected + block.mlp(block.ln_2(expected)))


@torch.no_grad()
def test_cosine_attention_forgets_lengths():
    backbone = tiny_training_free().backbone
    block, projections = backbone.image_tower.blocks[-1], backbone.projections("image")(3)
    x = torch.randn(1, 6, 48)
    mixed = []
    for q, k, v in literal.heads_of(block, x[0]):
        attention = torch.zeros(6, 6)
        for y in (q, k):
            unit = y / y.norm(dim=-1, keepdim=True)
            attention += (unit @ unit.T * 16**0.5).softmax(dim=-1)
        mixed.append(attention @ v)
    expected = x + projections.out(torch.cat(mixed, dim=-1))
    expected = expected + block.mlp(block.ln_2(expected))
    close(run_last_block(block, x, projections, "sclip", "cosine"), expected)


def test_forms_that_correlate_nothing_refuse_options():
    with pytest.raises(ValueError, match="correlates nothing"):
        run_last_block(None, torch.zeros(1, 2, 4), None, "value", similarity="cosine")
    with pytest.raises(ValueError, match="no form 'scilp'"):
        run_last_block(None, torch.zeros(1, 2, 4), None, "scilp")


@pytest.mark.parametrize(("across", "heads", "size"), [("separate", 3, 4), ("concatenated", 1, 12)])
def test_correlation_of_every_pair(across, heads, size):
    q, k, v = torch.randn(3, 1, 5, 12)
    expected = torch.zeros(5, 5)
    for i in range(5):
        for j in range(5):
            for x in (q[0], k[0], v[0]):
                for h in range(heads):
                    a, b = (x[n, h * size : (h + 1) * size] for n in (i, j))
                    expected[i, j] += a @ b / (a.norm() * b.norm()) / (3 * heads)
    close(self_correlation(correlation_features(q, k, v, 3, "cosine", across))[0], expected)


def test_inner_products_of_every_pair():
    q, k, v = torch.randn(3, 2, 5, 12)
    q[1] *= 100  # images do not change each other
    found = self_correlation(correlation_features(q, k, v, 3, "inner"))
    products = sum(x[0] @ x[0].T for x in (q, k, v))
    close(found[0], products / products.diagonal().mean())
    close(found[1].diagonal().mean(), 1.0)


def test_unknown_correlations_are_refused():
    with pytest.raises(ValueError, match="similarity must be"):
        correlation_features(*torch.randn(3, 1, 5, 12), 3, "dot")
    with pytest.raises(ValueError, match="heads are correlated"):
        correlation_features(*torch.randn(3, 1, 5, 12), 3, "cosine", "mixed")


def test_denoising_subtracts_what_the_cls_token_sees():
    features = torch.randn(7, 4)
    correlation = features @ features.T
    expected = literal.denoised(correlation)
    close(denoised_rows(features), expected)
    close(denoised_rows(features, tile=2), expected)
    assert (expected >= 0).all()
    close(raw_rows(features), correlation[1:, 1:])


@pytest.mark.parametrize("tile", [7, 64])
def test_clusters_are_dbscans(tile):
    generator = np.random.default_rng(0)
    centres = generator.random((4, 30))
    rows = np.concatenate([centre + 0.02 * generator.standard_normal((8, 30)) for centre in centres] + [3 + centres])
    rows = rows[generator.permutation(len(rows))].astype(np.float32)
    expected = DBSCAN(eps=0.25, min_samples=3).fit(rows).labels_
    assert expected.max() == 3
    assert (expected == -1).sum() == 4
    np.testing.assert_array_equal(cluster_patches(torch.from_numpy(rows), 0.25, 3), expected)
    graph = neighbour_graph(torch.from_numpy(rows), 0.25, tile).toarray()
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    np.testing.assert_allclose(graph, np.where(distances <= 0.25, distances, 0), atol=1e-6)


@pytest.mark.parametrize("min_samples", [1, 2, 3, 5])
def test_clusters_that_a_gpu_finds_are_those_of_scikit_learn(min_samples):
    """In the same order, and so for a patch between two clusters; neighbours by distance and by chance."""
    generator, found = np.random.default_rng(min_samples), set()
    for case in range(150):
        count = int(generator.integers(1, 60))
        if case % 3 == 0:
            near = generator.random((count, count)) < generator.choice([0.02, 0.06, 0.2])
        else:
            points = generator.random((count, 1 + case % 2)) * generator.choice([0.5, 2, 8])
            near = np.linalg.norm(points[:, None] - points[None], axis=-1) <= 0.15
        np.fill_diagonal(near, True)
        graph = csr_matrix(np.where(near, 0.5, 0))
        expected = DBSCAN(eps=1, min_samples=min_samples, metric="precomputed").fit(graph).labels_
        np.testing.assert_array_equal(density_clusters(torch.from_numpy(near)[None], min_samples)[0].numpy(), expected)
        found |= set(expected.tolist())
    assert max(found) >= 4 and (min(found) == -1) is (min_samples > 1)


def test_images_are_clustered_by_themselves_together_too():
    rows = [torch.rand(20, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    expected = [cluster_patches(own, 0.4, 3) for own in rows]
    np.testing.assert_array_equal(cluster_images(rows, 0.4, 3), expected)
    near = torch.stack([torch.cdist(own.double(), own.double()) <= 0.4 for own in rows])
    np.testing.assert_array_equal(density_clusters(near, 3), expected)
    assert len({tuple(own) for own in expected}) == 3


def test_long_chains_are_one_cluster():
    near = torch.eye(200, dtype=torch.bool)
    near[torch.arange(199), torch.arange(1, 200)] = near[torch.arange(1, 200), torch.arange(199)] = True
    assert density_clusters(near[None], 2).eq(0).all()


def test_identical_rows_are_neighbours():
    rows = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 5]])
    np.testing.assert_array_equal(cluster_patches(rows, 0.1, 3), [0, 0, 0, -1])


def test_mean_rows_by_hand():
    rows = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8]])
    close(region_means(rows[None], torch.tensor([[1, 0, -1, 1]]), 2)[0], torch.tensor([[3.0, 4], [4, 5]]))


def test_smooth_maps_are_scipys():
    from scipy.ndimage import median_filter

    maps = torch.rand(3, 5, 6)
    expected = []
    for one in maps:
        expected.append(median_filter(literal.enlarged(one, (20, 24)).numpy(), size=7))
    np.testing.assert_array_equal(smooth_maps(maps), np.stack(expected))


def test_regions_of_pixels():
    rows = torch.rand(30, 30)
    clusters = np.random.default_rng(1).integers(-1, 4, 30)
    correlation = torch.zeros(31, 31)
    correlation[1:, 1:] = rows
    expected = literal.regions_of(correlation, clusters, (5, 6), (40, 50))
    none = np.full(30, -1)
    found = pixel_regions([rows, rows, 2 * rows], [clusters, none, clusters], (5, 6), [(40, 50), (3, 4), (40, 50)])
    np.testing.assert_array_equal(found[0].numbers, expected)
    assert found[1] is None and torch.equal(found[2].numbers, found[0].numbers) and found[0].count == 4
    assert pixel_regions([rows], [none], (5, 6), [(40, 50)]) == [None]


@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_labels_of_pixels_whatever_is_left_out(spread):
    scores = 10 * torch.rand(40, 1, 1) + spread * torch.randn(40, 5, 7)
    expected = torch.stack([literal.enlarged(one, (33, 47)) for one in scores]).argmax(dim=0)
    torch.testing.assert_close(pixel_labels(scores, (33, 47)), expected)


def test_vote_by_hand():
    labels = torch.tensor([[2, 2, 0], [1, 0, 1]])
    regions = torch.tensor([[0, 0, 0], [2, 2, 2]])
    assert vote(labels, PixelRegions(regions, 3), 3).tolist() == [[2, 2, 2], [1, 1, 1]]
    assert vote(labels, PixelRegions(torch.tensor([[0, 0, 1], [1, 1, 1]]), 5), 3).tolist() == [[2, 2, 0], [0, 0, 0]]
    # equally frequent: the lower label
    assert vote(torch.tensor([[2, 1]]), PixelRegions(torch.tensor([[0, 0]]), 1), 3).tolist() == [[1, 1]]


def test_labels_of_patches_are_the_majority():
    labels = torch.zeros(32, 48, dtype=torch.long)
    labels[:, 20:] = 7
    labels[20:, :10] = 255
    # columns of 16: the middle one is 7 from its 4th pixel on; rows of 16: the lower left is 255 in 12 x 10 of 256
    assert labels_of_patches(labels, (2, 3)).tolist() == [0, 7, 7, 0, 7, 7]
