import math

import pytest
import torch

from hclip_mmseg.adapters import cayley, hyperspherical_energy, kept_axis, orthogonality_error, turn_weight


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def energy_by_loops(neurons: torch.Tensor) -> float:
    directions = [neuron / neuron.norm() for neuron in neurons]
    return sum(
        float(1 / (one - other).norm())
        for i, one in enumerate(directions)
        for j, other in enumerate(directions)
        if i != j
    )


@pytest.mark.parametrize("chunk_size", [1, 3, 1024])
def test_equals_the_sum_over_pairs(chunk_size):
    weight = randn(7, 4)
    rows = hyperspherical_energy(weight, 0, chunk_size)
    columns = hyperspherical_energy(weight, 1, chunk_size)
    assert float(rows) == pytest.approx(energy_by_loops(weight))
    assert float(columns) == pytest.approx(energy_by_loops(weight.T))


@pytest.mark.parametrize("side", ["input", "output"])
def test_orthogonal_blocks_keep_the_energy_along_their_axis_and_change_the_other(side):
    weight = randn(12, 12)
    turned = turn_weight(weight, cayley(randn(3, 4, 4, seed=1)), side)
    kept = kept_axis(side)
    before = {axis: float(hyperspherical_energy(weight, axis)) for axis in (0, 1)}
    after = {axis: float(hyperspherical_energy(turned, axis)) for axis in (0, 1)}
    assert after[kept] == pytest.approx(before[kept], rel=1e-9)
    assert abs(after[1 - kept] / before[1 - kept] - 1) > 1e-4


@pytest.mark.parametrize("side", ["input", "output"])
def test_free_blocks_change_the_energy(side):
    weight = randn(12, 12)
    turned = turn_weight(weight, torch.eye(4, dtype=torch.float64) + 0.3 * randn(3, 4, 4, seed=1), side)
    axis = kept_axis(side)
    assert abs(float(hyperspherical_energy(turned, axis) / hyperspherical_energy(weight, axis)) - 1) > 1e-3


def test_length_of_a_neuron_does_not_matter():
    weight = randn(5, 3)
    scaled = weight * torch.tensor([[0.1], [1.0], [2.0], [30.0], [1e-4]], dtype=torch.float64)
    torch.testing.assert_close(hyperspherical_energy(scaled), hyperspherical_energy(weight))


def test_neurons_without_direction_are_left_out():
    weight = randn(5, 3)
    padded = torch.cat([weight, torch.zeros(2, 3)])
    torch.testing.assert_close(hyperspherical_energy(padded), hyperspherical_energy(weight))
    assert hyperspherical_energy(torch.zeros(4, 3)) == 0


def test_equal_neurons_stay_finite_and_have_finite_gradients():
    weight = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], requires_grad=True)
    energy = hyperspherical_energy(weight)
    assert energy.item() == pytest.approx(2e6 + 4 / math.sqrt(2))
    energy.backward()
    assert weight.grad.isfinite().all()


def test_gradients():
    weight = randn(5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: hyperspherical_energy(w, 0, 2), weight)
    assert torch.autograd.gradcheck(lambda w: hyperspherical_energy(w, 1), weight)


def test_orthogonality_error_is_the_largest_entry():
    blocks = torch.eye(3).repeat(2, 1, 1)
    assert orthogonality_error(blocks) == 0
    blocks[1, 0, 0] = 2.0
    assert orthogonality_error(blocks) == 3.0
    blocks = torch.eye(3).repeat(2, 1, 1)
    blocks[0, 0, 1] = 0.5
    assert orthogonality_error(blocks) == 0.5


def test_bad_input():
    with pytest.raises(ValueError, match="matrix"):
        hyperspherical_energy(torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match="axis"):
        hyperspherical_energy(torch.zeros(2, 2), 2)
    with pytest.raises(ValueError, match="chunk_size"):
        hyperspherical_energy(torch.zeros(2, 2), 0, 0)
    with pytest.raises(ValueError, match="square"):
        orthogonality_error(torch.zeros(2, 3))
