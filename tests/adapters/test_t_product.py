import pytest
import torch

from hclip_mmseg.adapters import facewise_product, mode_product, t_product, transform_modes


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def circ(a: torch.Tensor) -> torch.Tensor:
    """Block circulant matrix of the slices along the last mode, recursively down to matrices."""
    if a.dim() == 2:
        return a
    slices = [circ(a[..., i]) for i in range(a.shape[-1])]
    n = len(slices)
    return torch.cat([torch.cat([slices[(i - j) % n] for j in range(n)], dim=1) for i in range(n)], dim=0)


def unfold(b: torch.Tensor) -> torch.Tensor:
    if b.dim() == 2:
        return b
    return torch.cat([unfold(b[..., i]) for i in range(b.shape[-1])], dim=0)


def fold(matrix: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    if not sizes:
        return matrix
    return torch.stack([fold(chunk, sizes[:-1]) for chunk in matrix.chunk(sizes[-1])], dim=-1)


@pytest.mark.parametrize("sizes", [(5,), (4,), (3, 4), (2, 3, 2)])
def test_equals_the_circulant_definition(sizes):
    a, b = randn(2, 3, *sizes), randn(3, 4, *sizes, seed=1)
    expected = fold(circ(a) @ unfold(b), sizes)
    assert not t_product(a, b).is_complex()
    torch.testing.assert_close(t_product(a, b), expected)
    torch.testing.assert_close(t_product(a, b, "dft"), expected)


@pytest.mark.parametrize("sizes", [(5,), (3, 4)])
def test_dft_as_matrices_is_the_dft(sizes):
    a, b = randn(2, 3, *sizes), randn(3, 4, *sizes, seed=1)
    matrices = [torch.fft.fft(torch.eye(n, dtype=torch.complex128)) for n in sizes]
    product = t_product(a.to(torch.complex128), b.to(torch.complex128), matrices)
    torch.testing.assert_close(product.real, t_product(a, b))
    torch.testing.assert_close(product.imag, torch.zeros_like(product.imag))


def test_any_transform_order_three():
    a, b, matrix = randn(2, 3, 4), randn(3, 2, 4, seed=1), randn(4, 4, seed=2)
    inverse = torch.linalg.inv(matrix)
    expected = torch.zeros(2, 2, 4, dtype=torch.float64)
    for face in range(4):
        a_face = sum(matrix[face, k] * a[:, :, k] for k in range(4))
        b_face = sum(matrix[face, k] * b[:, :, k] for k in range(4))
        for k in range(4):
            expected[:, :, k] += inverse[k, face] * (a_face @ b_face)
    product = t_product(a, b, [matrix])
    assert not product.is_complex()
    torch.testing.assert_close(product, expected)


def test_any_transform_order_four():
    a, b = randn(2, 3, 4, 5), randn(3, 2, 4, 5, seed=1)
    third, fourth = randn(4, 4, seed=2), randn(5, 5, seed=3)
    both = torch.kron(third, fourth)  # one transform of both modes flattened
    expected = t_product(a.flatten(2), b.flatten(2), [both]).unflatten(2, (4, 5))
    torch.testing.assert_close(t_product(a, b, [third, fourth]), expected)


@pytest.mark.parametrize("mode", [1, 2, 3, 4])
def test_mode_product_sums_over_its_mode(mode):
    tensor = randn(2, 3, 4, 5)
    matrix = randn(6, tensor.shape[mode - 1], seed=1)
    result = mode_product(tensor, matrix, mode)
    assert result.shape[mode - 1] == 6
    for j in range(6):
        expected = sum(matrix[j, i] * tensor.select(mode - 1, i) for i in range(tensor.shape[mode - 1]))
        torch.testing.assert_close(result.select(mode - 1, j), expected)


def test_mode_products_along_different_modes_commute():
    tensor, rows, columns = randn(2, 3, 4, 5), randn(4, 4, seed=1), randn(5, 5, seed=2)
    one = mode_product(mode_product(tensor, rows, 3), columns, 4)
    torch.testing.assert_close(one, mode_product(mode_product(tensor, columns, 4), rows, 3))
    torch.testing.assert_close(one, transform_modes(tensor, [rows, columns]))


def test_gradients():
    a, b = randn(2, 2, 3, 2).requires_grad_(), randn(2, 1, 3, 2, seed=1).requires_grad_()
    transform = [randn(3, 3, seed=2).requires_grad_(), randn(2, 2, seed=3).requires_grad_()]
    assert torch.autograd.gradcheck(t_product, (a, b))
    assert torch.autograd.gradcheck(lambda a, b, *t: t_product(a, b, t), (a, b, *transform))
    assert torch.autograd.gradcheck(lambda a, m: mode_product(a, m, 2), (a, randn(3, 2).requires_grad_()))
    assert torch.autograd.gradcheck(facewise_product, (a, b))


@pytest.mark.parametrize(
    ("a", "b", "transform", "message"),
    [
        ((2, 3), (3, 2), None, r"\(2, 3\) and \(3, 2\)"),
        ((2, 3, 4), (2, 3, 4), None, "T-product takes"),
        ((2, 3, 4), (3, 2, 5), None, "T-product takes"),
        ((2, 3, 4), (3, 2, 4, 1), None, "T-product takes"),
        ((2, 3, 4), (3, 2, 4), "dct", "'dct'"),
        ((2, 3, 4), (3, 2, 4), [torch.ones(4, 4)], "mode 3 is singular"),
        ((2, 3, 4), (3, 2, 4), [torch.ones(3, 4)], "mode 3 must be square"),
        ((2, 3, 4), (3, 2, 4), [torch.eye(3)], r"must be \[m, 4\]"),
        ((2, 3, 4), (3, 2, 4), [torch.eye(4), torch.eye(4)], "by 1 matrices"),
    ],
)
def test_bad_input(a, b, transform, message):
    with pytest.raises(ValueError, match=message):
        t_product(torch.zeros(a), torch.zeros(b), transform)


@pytest.mark.parametrize("mode", [0, 4])
def test_mode_product_refuses_modes_that_are_not_there(mode):
    with pytest.raises(ValueError, match="no mode"):
        mode_product(torch.zeros(2, 2, 2), torch.eye(2), mode)
