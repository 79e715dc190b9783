import pytest
import torch
import torch.nn.functional as F

from hclip_mmseg.adapters import cheaper_operand, turn_weight, turned_linear, turning_cost

OUT, IN, BLOCK = 6, 4, 2


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def case(side: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weight, its blocks and the explicitly turned weight."""
    weight = randn(OUT, IN)
    blocks = randn((IN if side == "input" else OUT) // BLOCK, BLOCK, BLOCK, seed=1)
    diagonal = torch.block_diag(*blocks)
    return weight, blocks, weight @ diagonal if side == "input" else diagonal @ weight


@pytest.mark.parametrize("side", ["input", "output"])
def test_weight_equals_the_explicit_product(side):
    weight, blocks, expected = case(side)
    torch.testing.assert_close(turn_weight(weight, blocks, side), expected)


@pytest.mark.parametrize("operand", ["weight", "activation", None])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize("shape", [(IN,), (3, IN), (2, 3, IN)])
def test_linear_equals_the_explicit_product(shape, side, biased, operand):
    weight, blocks, turned = case(side)
    x, bias = randn(*shape, seed=2), randn(OUT, seed=3) if biased else None
    torch.testing.assert_close(
        turned_linear(x, weight, bias, blocks, side, operand), F.linear(x, turned, bias)
    )


@pytest.mark.parametrize("operand", ["weight", "activation"])
@pytest.mark.parametrize("side", ["input", "output"])
def test_gradients(side, operand):
    weight, blocks, _ = case(side)
    x, bias = randn(3, IN, seed=2), randn(OUT, seed=3)
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias, blocks)]
    assert torch.autograd.gradcheck(lambda *tensors: turned_linear(*tensors, side, operand), inputs)


@pytest.mark.parametrize("operand", ["weight", "activation"])
@pytest.mark.parametrize("side", ["input", "output"])
def test_runs_in_bf16_under_autocast_and_without(side, operand):
    weight, blocks, turned = (tensor.float() for tensor in case(side))
    x, bias = randn(5, IN, seed=2).float(), randn(OUT, seed=3).float()
    expected = F.linear(x, turned, bias)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = turned_linear(x, weight, bias, blocks, side, operand)
    half = turned_linear(x.bfloat16(), weight.bfloat16(), bias.bfloat16(), blocks, side, operand)
    for result in (mixed, half):
        assert result.dtype == torch.bfloat16
        torch.testing.assert_close(result.float(), expected, atol=0.1, rtol=0.1)
    assert turn_weight(weight.bfloat16(), blocks, side).dtype == torch.bfloat16


def test_weight_side_pays_with_many_tokens_and_no_gradients_only():
    shape = (768, 768)
    assert cheaper_operand(4 * 577, shape, 128, "input", training=False) == "weight"
    assert cheaper_operand(577, shape, 128, "input", training=False) == "activation"
    assert cheaper_operand(4 * 577, shape, 128, "input", training=True) == "activation"
    # The gradient of W' alone costs tokens * in * out; 3 q > in makes it worth its price.
    assert cheaper_operand(10**6, (256, 256), 128, "output", training=True) == "weight"


@pytest.mark.parametrize("side", ["input", "output"])
def test_costs_are_the_multiply_adds_of_the_products(side):
    tokens, width = 7, IN if side == "input" else OUT
    turn, activation = OUT * IN * BLOCK, tokens * width * BLOCK
    arguments = (tokens, (OUT, IN), BLOCK, side)
    assert turning_cost("weight", *arguments, training=False) == turn
    assert turning_cost("weight", *arguments, training=True) == 2 * turn + tokens * IN * OUT
    assert turning_cost("activation", *arguments, training=False) == activation
    assert turning_cost("activation", *arguments, training=True) == 3 * activation


@pytest.mark.parametrize(
    ("blocks", "side", "message"),
    [
        ((3, 2, 2), "input", "4 wide"),
        ((2, 2, 2), "output", "6 wide"),
        ((4, 1, 2), "input", "do not make up"),
        ((2, 2, 2), "left", "'left'"),
    ],
)
def test_bad_input(blocks, side, message):
    with pytest.raises(ValueError, match=message):
        turn_weight(torch.zeros(OUT, IN), torch.zeros(blocks), side)
    with pytest.raises(ValueError, match=message):
        turned_linear(torch.zeros(1, IN), torch.zeros(OUT, IN), None, torch.zeros(blocks), side)


def test_unknown_operand():
    with pytest.raises(ValueError, match="'bias'"):
        turned_linear(torch.zeros(1, IN), torch.zeros(OUT, IN), None, torch.zeros(2, 2, 2), "input", "bias")
