"""CLIPtrase agrees with the published implementation's recorded numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_numbers import draw_clip_value, draw_state, read_arrays, read_json

from hclip_mmseg.models import TextEncoderNeck
from hclip_mmseg.training_free import TrainingFreeBackbone
from hclip_mmseg.training_free.denoising import denoised_rows
from hclip_mmseg.training_free.regions import cluster_patches
from hclip_mmseg.training_free.self_correlation import self_correlation

MEAN = torch.tensor([122.7709383, 116.7460125, 104.09373615]).view(3, 1, 1)
STD = torch.tensor([68.5005327, 66.6321579, 70.32316305]).view(3, 1, 1)


@pytest.fixture(scope="module")
def golden():
    return read_arrays("cliptrase")


@pytest.fixture(scope="module")
def recorded() -> dict:
    return read_json("cliptrase")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> TrainingFreeBackbone:
    path = tmp_path_factory.mktemp("golden") / "clip.pt"
    torch.save(draw_state("cliptrase", draw_clip_value), path)
    return TrainingFreeBackbone(dict(model="ViT-B-16-quickgelu", pretrained=str(path)), "cliptrase").eval()


@pytest.fixture(scope="module")
def view(backbone, golden):
    with torch.no_grad():
        return backbone.look((torch.from_numpy(golden["img"]).float() - MEAN)[None] / STD)


def test_visual_tokens(view, golden):
    assert view.tokens.shape == (1, 197, 512)
    torch.testing.assert_close(
        F.normalize(view.tokens[0, ::4], dim=-1), torch.from_numpy(golden["visual"]), atol=1e-4, rtol=0
    )


def test_self_correlation(view, golden):
    correlation = self_correlation(view.correlation[0])
    torch.testing.assert_close(correlation[::4, ::4], torch.from_numpy(golden["corr"]), atol=1e-4, rtol=0)


def test_clusters(view, golden, recorded):
    rows = denoised_rows(view.correlation[0])
    clusters = cluster_patches(rows, recorded["eps"], recorded["min_samples"])
    np.testing.assert_array_equal(clusters, golden["dbscan"])


def test_text_features(backbone, golden, recorded):
    neck = TextEncoderNeck(recorded["classes"], templates="imagenet")
    with torch.no_grad():
        text = neck(backbone.encode_text, backbone.text_parameters())
    torch.testing.assert_close(text[:, 0], torch.from_numpy(golden["text_names"]), atol=1e-4, rtol=0)
