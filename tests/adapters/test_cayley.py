import pytest
import torch

from hclip_mmseg.adapters import cayley, orthogonality_error


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2, 1e4, 1e8])
@pytest.mark.parametrize("size", [1, 5, 64, 128])
def test_orthogonal_at_any_scale_in_fp32(size, scale, dtype):
    x = (torch.randn(2, 3, size, size, generator=generator()) * scale).to(dtype)
    rotation = cayley(x)
    assert rotation.dtype == torch.float32
    assert rotation.shape == x.shape
    assert orthogonality_error(rotation) <= 1e-5


@pytest.mark.parametrize("make", [torch.ones, torch.zeros])
def test_orthogonal_at_ill_conditioned_skew_parts(make):
    x = make(7, 128, 128)
    x[:, :2] += 1e4 * torch.randn(2, 128, generator=generator())  # S of rank 4: eigenvalues 0 and about 1e5
    assert orthogonality_error(cayley(x)) <= 1e-5


def test_is_the_identity_at_zero_and_at_symmetric_matrices():
    symmetric = torch.randn(16, 16, generator=generator())
    symmetric = symmetric + symmetric.T
    assert torch.equal(cayley(torch.zeros(2, 16, 16)), torch.eye(16).expand(2, -1, -1))
    assert torch.equal(cayley(symmetric), torch.eye(16))


def test_equals_both_forms_of_the_papers():
    x = torch.randn(4, 9, 9, dtype=torch.float64, generator=generator())
    skew, eye = (x - x.mT) / 2, torch.eye(9, dtype=torch.float64)
    q = -skew
    torch.testing.assert_close(cayley(x), (eye - skew) @ torch.linalg.inv(eye + skew))
    torch.testing.assert_close(cayley(x), (eye + q) @ torch.linalg.inv(eye - q))


def test_gradients():
    x = torch.randn(2, 4, 4, dtype=torch.float64, generator=generator(), requires_grad=True)
    assert torch.autograd.gradcheck(cayley, x)
    assert torch.autograd.gradgradcheck(cayley, x)


def test_autocast_changes_neither_result_nor_gradient():
    def run(enabled: bool) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(3, 32, 32, generator=generator(), requires_grad=True)
        target = torch.randn(3, 32, 32, generator=generator(1))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            rotation = cayley(x)
            (rotation * target).sum().backward()
        return rotation, x.grad

    for plain, under_autocast in zip(run(False), run(True), strict=True):
        assert torch.equal(plain, under_autocast)


def test_refuses_matrices_that_are_not_square():
    with pytest.raises(ValueError, match=r"\(3, 4, 5\)"):
        cayley(torch.zeros(3, 4, 5))
