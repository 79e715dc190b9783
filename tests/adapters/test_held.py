"""What POP holds is never out of date: everything here compares with a module that held nothing before."""

import copy
import gc
import io
import weakref

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from hclip_mmseg.adapters import POP, Held, ParameterVersions
from hclip_mmseg.adapters import relations as relations_module
from hclip_mmseg.adapters.held import forget, settle

WIDTHS = {"image": 6, "text": 4}


@pytest.fixture
def pop() -> POP:
    module = POP(image_layers=4, text_layers=2, image_width=6, text_width=4, block_size=2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module


def fresh(pop: POP) -> POP:
    """A module of the same parameters that never computed anything."""
    module = POP(image_layers=4, text_layers=2, image_width=6, text_width=4, block_size=2)
    module.to(pop.tensor.dtype).load_state_dict(pop.state_dict())
    return module


def assert_up_to_date(pop: POP) -> None:
    expected = fresh(pop)
    for tower in WIDTHS:
        assert torch.equal(pop.turns(tower), expected.turns(tower))


def loss_of(pop: POP, scale: float = 1.0) -> torch.Tensor:
    """A loss through every projection of both towers."""
    total = torch.zeros(())
    for tower, width in WIDTHS.items():
        x = torch.linspace(-1, 1, 3 * width).view(3, width)
        weight = torch.linspace(-scale, scale, width * width).view(width, width)
        for layer in range(len(pop.turns(tower))):
            for projection in ("q", "k", "v", "out"):
                x = torch.tanh(pop.linear(tower, layer, projection, x, weight))
        total = total + x.square().sum()
    return total


def gradients(pop: POP) -> list[torch.Tensor]:
    return [parameter.grad for parameter in pop.parameters()]


def count_computations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    original = relations_module.Relation.forward

    def counted(self, tensor):
        calls.append(1)
        return original(self, tensor)

    monkeypatch.setattr(relations_module.Relation, "forward", counted)
    return calls


def test_relation_is_computed_once_for_both_towers(pop, monkeypatch):
    calls = count_computations(monkeypatch)
    pop.refresh()
    loss_of(pop)
    assert pop.turns("image") is pop.turns("image")
    assert len(calls) == 1
    pop.forget()
    loss_of(pop)
    assert len(calls) == 2


@pytest.mark.parametrize("options", [{"foreach": True}, {"foreach": False}, {"fused": True}], ids=str)
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_optimizer_step(pop, kind, options):
    optimizer = kind(pop.parameters(), lr=0.1, **options)
    for _ in range(3):
        loss_of(pop).backward()
        pop.turns("image")  # held again, and made out of date by the step
        before = pop.turns("text").detach().clone()
        optimizer.step()
        assert not torch.equal(pop.turns("text"), before)
        assert_up_to_date(pop)


def test_step_of_the_relation_alone(pop):
    pop.refresh()
    with torch.no_grad():
        pop.relation.columns.mul_(1.1)
    assert_up_to_date(pop)


@pytest.mark.parametrize("assign", [False, True])
def test_load_state_dict(pop, assign):
    pop.refresh()
    pop.load_state_dict({name: value + 0.5 for name, value in pop.state_dict().items()}, assign=assign)
    assert_up_to_date(pop)


def test_writes_in_inference_mode(pop):
    with torch.inference_mode():
        pop.turns("text")
        pop.tensor.add_(0.5)
        held = pop.turns("text").clone()
    assert torch.equal(held, fresh(pop).turns("text"))
    loss_of(pop).backward()
    expected = fresh(pop)
    loss_of(expected).backward()
    torch.testing.assert_close(gradients(pop), gradients(expected))


def test_parameters_made_in_inference_mode():
    with torch.inference_mode():
        pop = POP(image_layers=2, text_layers=2, image_width=2, text_width=2, block_size=2)
        pop.turns("image")
        pop.tensor.add_(1.0)
        assert torch.equal(pop.turns("image")[0, 0, 0], torch.eye(2) + 1)


def test_dtype_there_and_back(pop):
    pop.refresh()
    pop.double()
    assert pop.turns("text").dtype == torch.float64
    assert_up_to_date(pop)
    pop.bfloat16()
    assert pop.turns("text").dtype == torch.float32
    assert_up_to_date(pop)
    pop.float()
    assert_up_to_date(pop)


def test_memory_exchanged(pop):
    pop.refresh()
    pop.tensor.data = pop.tensor.data + 0.5
    assert_up_to_date(pop)


def test_parameter_exchanged(pop):
    pop.refresh()
    pop.tensor = torch.nn.Parameter(pop.tensor.detach() + 0.5)
    assert_up_to_date(pop)


def test_two_backwards_without_refresh(pop):
    expected = fresh(pop)
    loss_of(pop).backward()
    loss_of(pop, 0.5).backward()
    (loss_of(expected) + loss_of(expected, 0.5)).backward()
    torch.testing.assert_close(gradients(pop), gradients(expected))


def test_two_forwards_share_one_backward(pop, monkeypatch):
    calls = count_computations(monkeypatch)
    (loss_of(pop) + loss_of(pop, 0.5)).backward()
    assert len(calls) == 1


def test_backward_through_one_tower_only(pop):
    for tower in ("image", "text", "image"):
        pop.turns(tower).square().sum().backward()
    assert_up_to_date(pop)


def test_retained_graph(pop):
    loss = loss_of(pop)
    loss.backward(retain_graph=True)
    once = [grad.clone() for grad in gradients(pop)]
    loss.backward()
    torch.testing.assert_close(gradients(pop), [2 * grad for grad in once])
    loss_of(pop).backward()
    torch.testing.assert_close(gradients(pop), [3 * grad for grad in once])


def test_gradients_of_the_matrices_alone_keep_them_held(pop, monkeypatch):
    calls = count_computations(monkeypatch)
    loss = loss_of(pop)
    torch.autograd.grad(loss, [pop.turns("image"), pop.turns("text")], retain_graph=True, allow_unused=True)
    loss.backward()
    assert len(calls) == 1


def test_no_grad_does_not_leave_graphless_matrices_to_training(pop):
    with torch.no_grad():
        assert not pop.turns("image").requires_grad
        assert not loss_of(pop).requires_grad
    loss_of(pop).backward()
    assert all(grad is not None and grad.abs().sum() > 0 for grad in gradients(pop))


def test_inference_mode_does_not_leave_its_tensors_to_training(pop):
    with torch.inference_mode():
        loss_of(pop)
    pop.requires_grad_(False)
    x = torch.ones(3, 4, requires_grad=True)
    with torch.no_grad():
        pop.turns("text")
    pop.linear("text", 0, "q", x, torch.ones(4, 4)).sum().backward()
    assert x.grad is not None


def test_no_grad_between_forward_and_backward(pop, monkeypatch):
    calls = count_computations(monkeypatch)
    expected = fresh(pop)
    loss = loss_of(pop)
    with torch.no_grad():
        assert not pop.turns("text").requires_grad
        loss_of(pop)
    loss.backward()
    assert len(calls) == 1
    loss_of(expected).backward()
    torch.testing.assert_close(gradients(pop), gradients(expected))


def test_requires_grad_switched_on(pop):
    pop.requires_grad_(False)
    assert not pop.turns("image").requires_grad
    pop.requires_grad_(True)
    loss_of(pop).backward()
    assert pop.tensor.grad is not None


@pytest.mark.parametrize("hold_first", [True, False])
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("twice", [True, False])
def test_activation_checkpointing(pop, reentrant, hold_first, twice):
    expected = fresh(pop)
    if hold_first:
        pop.refresh()
    start = torch.linspace(-1, 1, 12).view(3, 4).requires_grad_()
    weight = torch.linspace(-1, 1, 16).view(4, 4)

    def block(module: POP, layer: int, x: torch.Tensor) -> torch.Tensor:
        for projection in ("q", "k", "v", "out"):
            x = torch.tanh(module.linear("text", layer, projection, x, weight))
        return x

    x = y = start
    for layer in range(2):
        x = checkpoint(block, pop, layer, x, use_reentrant=reentrant)
        y = block(expected, layer, y)
    for loss in (x.sum(), y.sum()):
        if twice and not reentrant:
            loss.backward(retain_graph=True)
        loss.backward()
    torch.testing.assert_close(gradients(pop), gradients(expected))
    assert_up_to_date(pop)


def test_change_between_checkpointed_forward_and_backward_is_an_error(pop):
    x = checkpoint(
        lambda x: pop.linear("text", 0, "q", x, torch.ones(4, 4)), torch.ones(3, 4), use_reentrant=False
    )
    with torch.no_grad():
        pop.relation.layers.mul_(1.1)
    with pytest.raises(RuntimeError, match="inplace operation"):
        x.sum().backward()


@pytest.mark.parametrize("with_graph", [True, False])
def test_copies(pop, with_graph):
    with torch.set_grad_enabled(with_graph):
        loss_of(pop)
    double = copy.deepcopy(pop)
    buffer = io.BytesIO()
    torch.save(pop, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    with torch.no_grad():
        pop.tensor.add_(1.0)
    for other in (double, loaded):
        assert not torch.equal(other.turns("text"), pop.turns("text"))
        assert_up_to_date(other)
        loss_of(other).backward()
        assert other.tensor.grad is not None
    assert pop.tensor.grad is None


def test_module_is_freed_with_what_it_holds(pop):
    loss = loss_of(pop)
    released = POP(image_layers=2, text_layers=2, image_width=2, text_width=2, block_size=2)
    released.refresh()
    reference, matrices = weakref.ref(released), weakref.ref(released.turns("image"))
    gc.disable()
    try:
        del released
        assert reference() is None
        assert matrices() is None
    finally:
        gc.enable()
    loss.backward()


def test_held_matrices_are_not_in_the_state_dict(pop):
    names = set(pop.state_dict())
    pop.refresh()
    assert set(pop.state_dict()) == names


def test_parameter_versions():
    one, two = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    versions = ParameterVersions([one, two])
    assert versions.current([one, two])
    assert not versions.current([one])
    assert not versions.current([two, one])
    with torch.no_grad():
        two.add_(0.0)
    assert not versions.current([one, two])
    versions = ParameterVersions([one, two])
    one.requires_grad_(False)
    assert not versions.current([one, two])


def sum_of(held: Held[float], parameter: torch.nn.Parameter) -> float:
    return held.get(lambda: [parameter], lambda: float(parameter.detach().sum()))


def test_a_held_value_follows_its_parameters_until_it_is_settled():
    held, parameter = Held(), torch.nn.Parameter(torch.ones(2))
    assert held.value is None and sum_of(held, parameter) == held.value == 2
    with torch.no_grad():
        parameter.mul_(2)
        assert sum_of(held, parameter) == 4
        held.settle()
        parameter.mul_(2)
        assert sum_of(held, parameter) == 4
        held.forget()
        assert held.value is None and sum_of(held, parameter) == 8
        parameter.mul_(2)
        assert sum_of(held, parameter) == 16, "forgetting ends what settling began"


def test_what_is_settled_before_it_is_computed_is_computed_once():
    held, parameter = Held(), torch.nn.Parameter(torch.ones(2))
    held.settle()
    assert [sum_of(held, parameter), sum_of(held, parameter.double())] == [2, 2]


def test_a_value_that_cannot_be_computed_is_not_held():
    held, parameter = Held(), torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ZeroDivisionError):
        held.get(lambda: [parameter], lambda: 1 / 0)
    assert held.value is None and sum_of(held, parameter) == 2


def test_settling_and_forgetting_reach_every_module_that_holds_something(pop):
    model = torch.nn.ModuleDict({"other": torch.nn.Linear(1, 1), "adapter": pop})
    before = pop.turns("text").detach().clone()
    settle(model)
    with torch.no_grad():
        pop.tensor.add_(0.5)
        assert torch.equal(pop.turns("text"), before)
        forget(model)
        assert_up_to_date(pop)


def test_a_compiled_graph_uses_what_is_held_and_holds_nothing_itself():
    held, parameter = Held(), torch.nn.Parameter(torch.ones(2))
    compiled = torch.compile(
        lambda x: x + held.get(lambda: [parameter], lambda: 2 * parameter), fullgraph=True, backend="eager"
    )
    with torch.no_grad():
        x = torch.zeros(2)
        assert torch.equal(compiled(x), 2 * torch.ones(2)) and held.value is None
        parameter.add_(1)
        assert torch.equal(compiled(x), 4 * torch.ones(2))
        held.get(lambda: [parameter], lambda: 2 * parameter)
        parameter.add_(1)
        assert torch.equal(compiled(x), 4 * torch.ones(2))
        held.forget()
        assert torch.equal(compiled(x), 6 * torch.ones(2))
