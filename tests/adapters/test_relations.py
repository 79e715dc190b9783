import pytest
import torch
import torch.nn.functional as F

from hclip_mmseg.adapters import (
    LinearRelation,
    MLPRelation,
    ResidualLinearRelation,
    build_relation,
    facewise_product,
    t_product,
    transform_modes,
)

LAYERS, COLUMNS, BLOCK = 2, 3, 2
ROWS = 4 * LAYERS


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def randomised(relation: torch.nn.Module) -> torch.nn.Module:
    relation.double()
    with torch.no_grad():
        for index, parameter in enumerate(relation.parameters()):
            parameter.copy_(randn(*parameter.shape, seed=10 + index))
    return relation


def linear_by_loops(tensor, layers, columns):
    """Rows 4 l to 4 l + 3 of (T x_4 M_l) x_3 Lambda, number by number."""
    related = torch.zeros_like(tensor)
    for layer in range(LAYERS):
        mixed = torch.zeros_like(tensor)
        for s in range(COLUMNS):
            for t in range(COLUMNS):
                mixed[..., s] += columns[layer, s, t] * tensor[..., t]
        for row in range(4 * layer, 4 * layer + 4):
            for r in range(ROWS):
                related[:, :, row] += layers[row, r] * mixed[:, :, r]
    return related


def mlp_by_loops(tensor, relation, nonlinearity):
    """T + alpha * f4(f3(T)), one vector at a time."""
    related = tensor.clone()
    over_slices = torch.zeros_like(tensor)
    for i in range(BLOCK):
        for j in range(BLOCK):
            for row in range(ROWS):
                hidden = nonlinearity(relation.f3.inner @ tensor[i, j, row])
                over_slices[i, j, row] = relation.f3.outer @ hidden
    for i in range(BLOCK):
        for j in range(BLOCK):
            for s in range(COLUMNS):
                hidden = nonlinearity(relation.f4.inner @ over_slices[i, j, :, s])
                over_layers = relation.f4.outer @ hidden
                for row in range(ROWS):
                    related[i, j, row, s] += relation.alpha[s, row // 4] * over_layers[row]
    return related


def test_linear_is_the_published_equation():
    relation = randomised(LinearRelation(LAYERS, COLUMNS))
    tensor = randn(BLOCK, BLOCK, ROWS, COLUMNS)
    expected = linear_by_loops(tensor, relation.layers, relation.columns)
    torch.testing.assert_close(relation(tensor), expected)


def test_linear_parameters_act_like_the_published_linear_layers():
    """Published code: nn.Linear(4L) over the rows and one nn.Linear(c) a layer over the columns, no bias."""
    relation = randomised(LinearRelation(LAYERS, COLUMNS))
    tensor = randn(BLOCK, BLOCK, ROWS, COLUMNS)
    related = relation(tensor)
    for layer in range(LAYERS):
        mixed = F.linear(tensor, relation.columns[layer])
        mixed = F.linear(mixed.transpose(2, 3), relation.layers).transpose(2, 3)
        rows = slice(4 * layer, 4 * layer + 4)
        torch.testing.assert_close(related[:, :, rows], mixed[:, :, rows])


def test_linear_is_the_transform_of_the_t_product():
    relation = randomised(LinearRelation(LAYERS, COLUMNS))
    tensor, weights = randn(BLOCK, BLOCK, ROWS, COLUMNS), randn(BLOCK, BLOCK, ROWS, COLUMNS, seed=1)
    for layer in range(LAYERS):
        rows = slice(4 * layer, 4 * layer + 4)
        transformed = transform_modes(tensor, [relation.layers, relation.columns[layer]])
        torch.testing.assert_close(relation(tensor)[:, :, rows], transformed[:, :, rows])
    with torch.no_grad():
        relation.columns.copy_(relation.columns[:1].expand_as(relation.columns))
    transform = [relation.layers, relation.columns[0]]
    faces = facewise_product(weights, relation(tensor))
    turned_back = transform_modes(faces, [torch.linalg.inv(matrix) for matrix in transform])
    weights_before = transform_modes(weights, [torch.linalg.inv(matrix) for matrix in transform])
    torch.testing.assert_close(turned_back, t_product(weights_before, tensor, transform))


@pytest.mark.parametrize(
    ("name", "nonlinearity"), [("gelu", F.gelu), ("relu", F.relu), ("silu", F.silu), ("tanh", torch.tanh)]
)
def test_mlp_is_the_papers_equation(name, nonlinearity):
    relation = randomised(MLPRelation(LAYERS, COLUMNS, slice_hidden=5, layer_hidden=6, nonlinearity=name))
    assert relation.f3.inner.shape == (5, COLUMNS)
    assert relation.f4.inner.shape == (6, ROWS)
    assert relation.alpha.shape == (COLUMNS, LAYERS)
    tensor = randn(BLOCK, BLOCK, ROWS, COLUMNS)
    torch.testing.assert_close(relation(tensor), mlp_by_loops(tensor, relation, nonlinearity))


def test_residual_linear_is_the_papers_equation_18():
    """T + alpha * (T x_3 S_3 x_4 S_4), number by number, each projection's rows by themselves."""
    relation = randomised(ResidualLinearRelation(LAYERS, COLUMNS))
    assert relation.slices.shape == (COLUMNS, COLUMNS) and relation.layers.shape == (LAYERS, LAYERS)
    tensor = randn(BLOCK, BLOCK, ROWS, COLUMNS)
    expected = tensor.clone()
    for layer in range(LAYERS):
        for projection in range(4):
            for s in range(COLUMNS):
                for other in range(LAYERS):
                    for t in range(COLUMNS):
                        factor = relation.alpha[s, layer] * relation.layers[layer, other] * relation.slices[s, t]
                        expected[:, :, 4 * layer + projection, s] += factor * tensor[:, :, 4 * other + projection, t]
    torch.testing.assert_close(relation(tensor), expected)


@pytest.mark.parametrize("kind", ["linear", "residual_linear", "mlp"])
def test_starts_as_the_identity(kind):
    relation = build_relation({"type": kind}, layers=3, columns=5)
    tensor = torch.randn(4, 4, 12, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(relation(tensor), tensor)


@pytest.mark.parametrize("kind", ["linear", "residual_linear", "mlp"])
def test_gradients(kind):
    relation = randomised(build_relation({"type": kind}, layers=LAYERS, columns=COLUMNS))
    tensor = randn(BLOCK, BLOCK, ROWS, COLUMNS).requires_grad_()
    names, parameters = zip(*relation.named_parameters(), strict=True)

    def related(tensor, *values):
        return torch.func.functional_call(relation, dict(zip(names, values, strict=True)), (tensor,))

    assert torch.autograd.gradcheck(related, (tensor, *parameters))


def test_none_is_no_relation():
    assert build_relation(None, layers=2, columns=3) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "cubic"}, "'cubic'"),
        ({}, "None"),
        ({"type": "linear", "nonlinearity": "relu"}, "nonlinearity"),
        ({"type": "mlp", "nonlinearity": "sine"}, "'sine'"),
        ({"type": "mlp", "slice_hidden": 0}, "at least 1"),
    ],
)
def test_bad_configs(config, message):
    with pytest.raises(ValueError, match=message):
        build_relation(config, layers=2, columns=3)


def test_refuses_another_tensor():
    with pytest.raises(ValueError, match=r"\[q, q, 8, 3\]"):
        LinearRelation(2, 3)(torch.zeros(2, 2, 8, 4))
