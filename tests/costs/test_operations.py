"""Operations against counts by hand, forward and backward."""

from __future__ import annotations

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel

from hclip_mmseg.costs.operations import counted_operations, operations
from hclip_mmseg.models import onednn

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 5, 7, 8
PRODUCT = 2 * BATCH * HEADS * QUERIES * KEYS * WIDTH  # operations of scores, or of their product with the values


@pytest.fixture(params=["real", "fake"])
def tensors(request):
    with FakeTensorMode() if request.param == "fake" else contextlib.nullcontext():
        yield


def projections() -> list[torch.Tensor]:
    shapes = ((QUERIES, WIDTH), (KEYS, WIDTH), (KEYS, WIDTH))
    return [torch.randn(BATCH, HEADS, *shape, requires_grad=True) for shape in shapes]


def test_attention_counts_its_two_products(tensors):
    q, k, v = projections()
    assert operations(lambda: F.scaled_dot_product_attention(q, k, v)) == 2 * PRODUCT
    assert operations(lambda: F.scaled_dot_product_attention(q, k, v), gradients=True) == 2 * PRODUCT
    mask = torch.zeros(QUERIES, KEYS)
    assert operations(lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)) == 2 * PRODUCT


def test_fused_attention_counts_what_matrix_products_do():
    q, k, v = projections()

    def attend() -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v)

    counts = {}
    for backend in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        with sdpa_kernel(backend):
            output = attend()
            with counted_operations() as counter:
                output.sum().backward()
            counts[backend] = (operations(attend), counter.get_total_flops())
    assert counts[SDPBackend.MATH] == (2 * PRODUCT, 4 * PRODUCT)
    assert counts[SDPBackend.FLASH_ATTENTION] == (2 * PRODUCT, 5 * PRODUCT), "it computes the scores again"


@pytest.mark.parametrize("training", [False, True])
def test_multi_head_attention_counts_all_of_it(tensors, training):
    layer = nn.MultiheadAttention(HEADS * WIDTH, HEADS, batch_first=True).train(training)
    tokens = torch.randn(BATCH, QUERIES, HEADS * WIDTH)
    by_hand = 2 * BATCH * QUERIES * (HEADS * WIDTH) ** 2 * 4 + 2 * (2 * BATCH * HEADS * QUERIES**2 * WIDTH)
    assert operations(lambda: layer(tokens, tokens, tokens, need_weights=False)) == by_hand


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_convolution_counts_as_much_for_each_gradient(kind, groups):
    side, kernel, channels = 8, 3, 6
    layer = kind(channels, channels, kernel, groups=groups, padding=1)
    forward = 2 * BATCH * side**2 * channels * (channels // groups) * kernel**2
    images = torch.randn(BATCH, channels, side, side, requires_grad=True)
    assert operations(lambda: layer(images)) == forward
    output = layer(images)
    assert operations(lambda: output.sum().backward(), gradients=True) == 2 * forward
    output = layer(images.detach())
    assert operations(lambda: output.sum().backward(), gradients=True) == forward


@pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this build of torch has no oneDNN")
def test_a_linear_layer_counts_the_same_by_onednn():
    x, weight = torch.randn(3, 5, 8), torch.randn(6, 8)
    with torch.no_grad(), counted_operations() as counter:
        onednn.product(x, weight, None)
    assert counter.get_total_flops() == 2 * 3 * 5 * 8 * 6
