"""The loss against PyTorch's own, its target written out."""

import pytest
import torch
import torch.nn.functional as F

from hclip_mmseg.models import AllClassesBCELoss


def one_hot(labels, classes, ignore):
    """[B, H, W] -> [B, T, H, W], pixel by pixel; nothing is set where the label is ignored."""
    target = torch.zeros(labels.shape[0], classes, *labels.shape[1:])
    for b, y, x in torch.cartesian_prod(*(torch.arange(size) for size in labels.shape)).tolist():
        if labels[b, y, x] != ignore:
            target[b, labels[b, y, x], y, x] = 1
    return target


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [255, 2])
def test_value_and_gradient(weighted, ignore):
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(2, 4, 5, 6, generator=generator)).requires_grad_()
    labels = torch.randint(0, 4, (2, 5, 6), generator=generator)
    labels[0, :2] = ignore
    weight = torch.rand(2, 5, 6, generator=generator) if weighted else None
    loss = AllClassesBCELoss(loss_weight=3.0)(logits, labels, weight=weight, ignore_index=ignore)
    per_pixel = None if weight is None else weight[:, None].expand(2, 4, 5, 6)
    expected = 3.0 * F.binary_cross_entropy_with_logits(logits, one_hot(labels, 4, ignore), weight=per_pixel)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], torch.autograd.grad(expected, logits)[0])


def test_extreme_logits_stay_finite():
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).requires_grad_()
    loss = AllClassesBCELoss()(logits, torch.ones(1, 1, 1, dtype=torch.long))
    assert float(loss.detach()) == pytest.approx(1e4)
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_nothing_but_ignored_pixels():
    logits = torch.randn(1, 3, 2, 2)
    loss = AllClassesBCELoss()(logits, torch.full((1, 2, 2), 255))
    torch.testing.assert_close(loss, F.softplus(logits).mean())


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_that_of_differences(weighted):
    logits = (4 * torch.randn(2, 3, 2, 3, dtype=torch.float64)).requires_grad_()
    labels = torch.tensor([[[0, 1, 255], [2, 2, 0]], [[255, 255, 1], [1, 0, 2]]])
    weight = torch.rand(2, 2, 3, dtype=torch.float64) if weighted else None
    assert torch.autograd.gradcheck(lambda given: AllClassesBCELoss(2.0)(given, labels, weight), logits)
