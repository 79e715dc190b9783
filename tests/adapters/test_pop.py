import pytest
import torch
import torch.nn.functional as F

from hclip_mmseg.adapters import POP, PROJECTIONS, Adapter, build_adapter, cayley, orthogonality_error

SIZES = dict(image_layers=4, text_layers=2, image_width=6, text_width=4, block_size=2)
DEPTHS, BLOCKS = {"image": 4, "text": 2}, {"image": 3, "text": 2}


def make(seed: int | None = None, **changes) -> POP:
    """A small POP: 2 text blocks and 2 x 3 image blocks a row; away from its start if a seed is given."""
    pop = POP(**{**SIZES, **changes})
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in pop.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return pop


def literal_cayley(x: torch.Tensor) -> torch.Tensor:
    """(I + Q)(I - Q)^-1 of one matrix, Q = (X^T - X) / 2, as the paper writes it."""
    eye, skew = torch.eye(len(x), dtype=x.dtype), (x.T - x) / 2
    return (eye + skew) @ torch.linalg.inv(eye - skew)


@pytest.mark.parametrize("kind", ["linear", "residual_linear", "mlp"])
def test_the_printed_order_relates_what_is_behind_the_cayley_map(kind):
    pop = make(seed=0, relation=dict(type=kind), relate="R").double()
    printed = pop.tensor.detach().clone()
    for row in range(printed.shape[2]):
        for column in range(BLOCKS["text"]):
            printed[:, :, row, column] = literal_cayley(printed[:, :, row, column])
    related = pop.relation(printed)
    for layer in range(DEPTHS["text"]):
        for projection in range(4):
            for block in range(BLOCKS["text"]):
                expected = related[:, :, 4 * layer + projection, block]
                torch.testing.assert_close(pop.turns("text")[layer, projection, block], expected)
    assert orthogonality_error(pop.turns("text")) > 0.05
    assert orthogonality_error(make(seed=0, relation=dict(type=kind)).turns("text")) < 1e-5
    pop.turns("text").square().sum().backward()
    assert float(pop.tensor.grad.abs().sum()) > 0


@pytest.mark.parametrize("kind", ["residual_linear", "mlp"])
def test_the_printed_order_starts_as_clip_itself(kind):
    pop = make(relation=dict(type=kind), relate="R")
    for tower in ("image", "text"):
        turns = pop.turns(tower)
        assert torch.equal(turns, torch.eye(2).expand_as(turns))


def test_only_x_and_r_can_be_related():
    with pytest.raises(ValueError, match=r"relate must be one of \['X', 'R'\], not 'T'"):
        make(relate="T")


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def explicit_diagonal(pop: POP, tower: str, layer: int, projection: int) -> torch.Tensor:
    """D of one projection, looked up in the related tensor as the layout says."""
    tensor = pop.tensor if pop.relation is None else pop.relation(pop.tensor)
    per_row = DEPTHS[tower] // DEPTHS["text"]
    row, turn = divmod(layer, per_row)
    start = 0 if tower == "text" else BLOCKS["text"] + turn * BLOCKS["image"]
    blocks = [tensor[:, :, 4 * row + projection, start + s] for s in range(BLOCKS[tower])]
    if tower == "text":
        blocks = [cayley(block) for block in blocks]
    return torch.block_diag(*blocks)


@pytest.mark.parametrize("relation", [None, {"type": "linear"}, {"type": "mlp"}])
@pytest.mark.parametrize("orthogonal", [(), ("text",), ("image",), ("image", "text")])
def test_starts_as_clip_itself(orthogonal, relation):
    pop = make(orthogonal=orthogonal, relation=relation)
    for tower in ("image", "text"):
        turns = pop.turns(tower)
        assert turns.shape == (DEPTHS[tower], 4, BLOCKS[tower], 2, 2)
        assert torch.equal(turns, torch.eye(2).expand_as(turns))
    weight, x = randn(6, 6), randn(5, 6, seed=1)
    assert torch.equal(pop.adapted_weight("image", 1, "q", weight), weight)
    torch.testing.assert_close(pop.linear("image", 1, "out", x, weight), F.linear(x, weight))


@pytest.mark.parametrize("relation", [None, {"type": "linear"}, {"type": "mlp"}])
def test_reads_each_slice_of_the_layout(relation):
    pop = make(seed=0, relation=relation)
    for tower, depth in DEPTHS.items():
        width = 2 * BLOCKS[tower]
        weight, bias, x = randn(width, width), randn(width, seed=1), randn(2, 5, width, seed=2)
        for layer in range(depth):
            for index, projection in enumerate(PROJECTIONS):
                diagonal = explicit_diagonal(pop, tower, layer, index)
                expected = diagonal @ weight if projection == "out" else weight @ diagonal
                adapted = pop.adapted_weight(tower, layer, projection, weight)
                torch.testing.assert_close(adapted, expected)
                output = pop.linear(tower, layer, projection, x, weight, bias)
                torch.testing.assert_close(output, F.linear(x, expected, bias))
                blocks = torch.block_diag(*pop.turns(tower)[layer, index])
                torch.testing.assert_close(blocks, diagonal)


def test_sides_can_be_chosen():
    pop = make(seed=0, sides={"out": "input", "q": "output"})
    weight = randn(4, 4)
    diagonals = [torch.block_diag(*blocks) for blocks in pop.turns("text")[1]]
    torch.testing.assert_close(pop.adapted_weight("text", 1, "q", weight), diagonals[0] @ weight)
    torch.testing.assert_close(pop.adapted_weight("text", 1, "k", weight), weight @ diagonals[1])
    torch.testing.assert_close(pop.adapted_weight("text", 1, "out", weight), weight @ diagonals[3])


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("relation", ["linear", "mlp"])
def test_text_blocks_stay_orthogonal_after_any_relation(relation, dtype, scale):
    pop = make(relation={"type": relation}, block_size=16, image_width=96, text_width=64)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in pop.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    pop.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        text, image = pop.turns("text"), pop.turns("image")
    assert text.dtype == image.dtype == torch.float32
    assert orthogonality_error(text) <= 1e-5
    assert orthogonality_error(image) > 1e-3


@pytest.mark.parametrize("relation", ["linear", "mlp"])
def test_gradients(relation):
    pop = make(seed=0, relation={"type": relation}, image_layers=2, text_layers=1, image_width=2).double()
    weights = {"image": randn(2, 2).double(), "text": randn(4, 4).double()}
    x = {"image": randn(3, 2, seed=1).double(), "text": randn(3, 4, seed=1).double()}

    def outputs(*parameters):
        pop.forget()  # gradcheck varies the parameters through .data
        return tuple(
            pop.linear(tower, layer, projection, x[tower], weights[tower])
            for tower, layer in (("image", 0), ("image", 1), ("text", 0))
            for projection in PROJECTIONS
        )

    assert torch.autograd.gradcheck(outputs, tuple(pop.parameters()))


def test_counts_of_vit_b_16():
    sizes = dict(image_layers=12, text_layers=12, image_width=768, text_width=512)
    with torch.device("meta"):
        pop = POP(**sizes)
        free = POP(**sizes, orthogonal=(), relation=None).count_parameters()
        orthogonal = POP(**sizes, orthogonal=("image", "text"), relation=None).count_parameters()
    count = pop.count_parameters()
    assert pop.tensor.shape == (128, 128, 48, 10)
    assert count.entries == 16384 * 48 * 10 == 7_864_320
    assert count.free == 16384 * 288 + 8192 * 192 == 6 * 2**20
    assert count.relation == 48**2 + 12 * 10**2
    assert count.trained == count.entries + count.relation
    assert free == (7_864_320, 7_864_320, 0, 7_864_320)
    # The paper prints 5.63 Mi for POP: the mean of its rows without and with orthogonality everywhere.
    assert (free.free + orthogonal.free) / 2 / 2**20 == 5.625


def test_frozen_parameters_are_not_counted_as_trained():
    pop = make()
    pop.relation.requires_grad_(False)
    assert pop.count_parameters().trained == pop.count_parameters().entries == 4 * 8 * 8


def test_shape_of_vit_l_14():
    with torch.device("meta"):
        pop = POP(image_layers=24, text_layers=12, image_width=1024, text_width=768)
    assert pop.tensor.shape == (128, 128, 48, 22)
    assert pop.relation.layers.shape == (48, 48)
    assert pop.relation.columns.shape == (12, 22, 22)


def test_names_in_the_state_dict():
    shapes = {name: tuple(value.shape) for name, value in make().state_dict().items()}
    assert shapes == {"tensor": (2, 2, 8, 8), "relation.layers": (8, 8), "relation.columns": (2, 8, 8)}


@pytest.mark.parametrize("tower", ["image", "text"])
def test_one_tower_alone(tower):
    other = {"image": "text", "text": "image"}[tower]
    pop = POP(**{**SIZES, f"{other}_width": 5, f"{other}_layers": 7, other: False})
    assert pop.tensor.shape == (2, 2, 4 * DEPTHS[tower], BLOCKS[tower])
    assert pop.turns(tower).shape == (DEPTHS[tower], 4, BLOCKS[tower], 2, 2)
    weight, x = randn(5, 5), randn(3, 5, seed=1)
    assert torch.equal(pop.adapted_weight(other, 0, "q", weight), weight)
    assert torch.equal(pop.linear(other, 0, "q", x, weight), F.linear(x, weight))
    with pytest.raises(ValueError, match="not adapted"):
        pop.turns(other)


def test_folding_is_exact_under_autocast_and_keeps_the_weights_dtype():
    pop = make(seed=0)
    weight = randn(6, 6)
    expected = pop.adapted_weight("image", 0, "v", weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pop.adapted_weight("image", 0, "v", weight), expected)
    half = pop.adapted_weight("image", 0, "v", weight.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, atol=0.05, rtol=0.05)


def test_built_by_name():
    arguments = {name: value for name, value in SIZES.items() if name != "block_size"}
    pop = build_adapter(dict(type="POP", block_size=2, relation=None), **arguments)
    assert isinstance(pop, POP) and isinstance(pop, Adapter)
    assert pop.relation is None
    with pytest.raises(ValueError, match="'Pop'"):
        build_adapter(dict(type="Pop"), **arguments)
    with pytest.raises(ValueError, match="blocksize"):
        build_adapter(dict(type="POP", blocksize=2), **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(block_size=4), "does not divide the image tower's width of 6"),
        (dict(image_width=8, text_width=6, block_size=4), "does not divide the text tower's width of 6"),
        (dict(block_size=0), "block_size"),
        (dict(image_layers=3), "multiple of text_layers"),
        (dict(image_layers=0), "image_layers"),
        (dict(orthogonal=("video",)), "'video'"),
        (dict(orthogonal="text"), "sequence"),
        (dict(relation=dict(type="none")), "'none'"),
        (dict(sides=dict(p="input")), "'p'"),
        (dict(sides=dict(q="left")), "'left'"),
        (dict(image=False, text=False), "at least one tower"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (("video", 0, "q"), "'video'"),
        (("text", 2, "q"), "layers 0 to 1, not 2"),
        (("text", -1, "q"), "not -1"),
        (("text", 0, "p"), "'p'"),
    ],
)
def test_bad_places(where, message):
    with pytest.raises(ValueError, match=message):
        make().linear(*where, torch.zeros(1, 4), torch.zeros(4, 4))
    with pytest.raises(ValueError, match=message):
        make().adapted_weight(*where, torch.zeros(4, 4))


def test_weight_of_another_width():
    with pytest.raises(ValueError, match="8 wide"):
        make().linear("text", 0, "q", torch.zeros(1, 8), torch.zeros(8, 8))


def test_base_adapter_runs_on_its_adapted_weight():
    class Doubled(Adapter):
        def adapted_weight(self, tower, layer, projection, weight):
            return 2 * weight

    x, weight, bias = randn(3, 4), randn(5, 4, seed=1), randn(5, seed=2)
    doubled = Doubled()
    doubled.refresh()
    doubled.forget()
    torch.testing.assert_close(doubled.linear("text", 0, "q", x, weight, bias), 2 * x @ weight.T + bias)
