"""The backbone: starts as CLIP, folds without a trace, never computes with stale adapters."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_models import PREPROCESSOR, backbone_config, clip_geometry, pop_config, randomise, tiny_backbone

from hclip_mmseg.adapters import orthogonality_error
from hclip_mmseg.clip import resolve_templates, tokenize

TOKENS = tokenize(["cat", "red striped star", "grass"], resolve_templates("scene"))[:, 0]


def images(height: int = 64, width: int = 64, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def outputs(backbone, given: torch.Tensor | None = None) -> list[torch.Tensor]:
    """All that comes out of the backbone's doors."""
    given = images() if given is None else given
    dtype = backbone.image_tower.conv1.weight.dtype
    given = given.to(dtype)
    return [*backbone(given), backbone.encode_text(TOKENS), backbone.encode_image(given)]


def assert_same(found: list[torch.Tensor], expected: list[torch.Tensor], **tolerance: float) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


def differ(found: list[torch.Tensor], expected: list[torch.Tensor]) -> bool:
    return all((one - other).abs().max() > 1e-4 for one, other in zip(found, expected, strict=True))


@pytest.fixture
def backbone():
    backbone = tiny_backbone()
    randomise(backbone.adapter)
    return backbone


@pytest.mark.parametrize("adapter", [pop_config("linear"), pop_config("mlp"), dict(type="TrainedProjections")])
def test_training_starts_as_plain_clip(adapter):
    adapted, plain = tiny_backbone(adapter=adapter), tiny_backbone(adapter=None)
    missing, unexpected = plain.load_state_dict(adapted.state_dict(), strict=False)
    assert not missing and all(name.startswith("adapter.") for name in unexpected)
    assert_same(outputs(adapted), outputs(plain), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        assert_same(outputs(adapted), outputs(plain), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("relation", ["linear", "mlp"])
def test_folded_is_unfolded(relation):
    backbone = tiny_backbone(adapter=pop_config(relation))
    start = outputs(backbone)
    randomise(backbone.adapter)
    unfolded = outputs(backbone)
    with torch.no_grad():
        folded = outputs(backbone)
    assert_same(folded, unfolded, rtol=1e-4, atol=1e-5)
    assert differ(unfolded[2:], start[2:]), "the adapters had no effect"


def adamw_step(backbone) -> None:
    optimizer = torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=0.05)
    sum(x.square().mean() for x in outputs(backbone)).backward()
    optimizer.step()


def load(backbone) -> None:
    state = backbone.state_dict()
    generator = torch.Generator().manual_seed(7)
    changed = {n: v + 0.1 * torch.randn(v.shape, generator=generator) for n, v in state.items() if "adapter" in n}
    backbone.load_state_dict({**state, **changed})


def write_adapters(backbone) -> None:
    with torch.no_grad():
        backbone.adapter.tensor.mul_(1.3)


def write_relation(backbone) -> None:
    with torch.no_grad():
        next(backbone.adapter.relation.parameters()).mul_(1.3)


def write_frozen_weights(backbone) -> None:
    with torch.no_grad():
        for tower in ("image", "text"):
            for attention in backbone.attentions(tower):
                attention.in_proj_weight.mul_(1.3)


@pytest.mark.parametrize("change", [adamw_step, load, write_adapters, write_relation, write_frozen_weights])
def test_folded_weights_are_never_stale(backbone, change):
    with torch.no_grad():
        before = outputs(backbone)
    change(backbone)
    with torch.no_grad():
        after = outputs(backbone)
    assert differ(after[2:], before[2:])
    assert_same(after, outputs(backbone), rtol=1e-4, atol=1e-5)
    fresh = tiny_backbone(seed=5)
    fresh.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        assert_same(after, outputs(fresh), rtol=0, atol=0)


def test_folded_weights_follow_the_dtype_there_and_back(backbone):
    with torch.no_grad():
        before = outputs(backbone)
        wide = outputs(backbone.to(torch.float64))
        assert {x.dtype for x in wide} == {torch.float64}
        assert_same([x.float() for x in wide], before, rtol=1e-4, atol=1e-5)
        assert_same(outputs(backbone.to(torch.float32)), before, rtol=0, atol=0)


def test_folding_leaves_no_trace(backbone):
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.fold()
    with torch.no_grad():
        outputs(backbone)
    folded = backbone.state_dict()
    backbone.forget()
    for now in (folded, backbone.state_dict()):
        assert list(now) == list(state)
        for name, value in state.items():
            assert now[name].numpy().tobytes() == value.numpy().tobytes(), name


def test_weights_are_folded_once(backbone, monkeypatch):
    calls = []
    original = backbone.adapter.adapted_weight
    monkeypatch.setattr(
        backbone.adapter, "adapted_weight", lambda *arguments: calls.append(arguments[:3]) or original(*arguments)
    )
    with torch.no_grad():
        outputs(backbone)
        outputs(backbone)
    assert len(calls) == len(set(calls)) == 2 * 4 * 4  # towers, layers, projections


def test_gradients_reach_what_is_trained_and_nothing_else():
    backbone = tiny_backbone(train_positions=True)
    randomise(backbone.adapter)
    sum(x.square().mean() for x in outputs(backbone)).backward()
    reached = {name for name, p in backbone.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    own = {name for name, _ in backbone.named_parameters() if name.startswith(("adapter.", "guidance_upsamples."))}
    assert own and reached == own | {"image_tower.positional_embedding", "text_tower.positional_embedding"}
    assert {name for name, p in backbone.named_parameters() if p.requires_grad} == reached


def test_positions_stay_frozen_unless_they_are_asked_for():
    backbone = tiny_backbone()
    assert not any(p.requires_grad for name, p in backbone.named_parameters() if "tower" in name)


@pytest.mark.parametrize("relation", ["linear", "mlp"])
def test_text_turns_stay_orthogonal_in_bf16_training(relation):
    backbone = tiny_backbone(adapter=pop_config(relation))
    randomise(backbone.adapter)
    optimizer = torch.optim.AdamW(backbone.adapter.parameters(), lr=0.05)
    start = backbone.adapter.tensor.detach().clone()
    for _ in range(4):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = sum(x.float().square().mean() for x in outputs(backbone))
        loss.backward()
        optimizer.step()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            turns = backbone.adapter.turns("text")
        assert turns.dtype == torch.float32
        assert float(orthogonality_error(turns.detach())) <= 1e-5
    assert (backbone.adapter.tensor - start).abs().max() > 0.05
    identity = torch.eye(turns.shape[-1])
    assert (turns - identity).abs().max() > 0.1, "nothing was turned, so nothing was tested"


@pytest.mark.parametrize("height, width", [(64, 64), (40, 72), (8, 24)])
def test_any_multiple_of_the_patch(backbone, height, width):
    rows, columns = height // 8, width // 8
    two, four, dense = backbone(images(height, width))
    assert two.shape == (2, 16, 2 * rows, 2 * columns)
    assert four.shape == (2, 8, 4 * rows, 4 * columns)
    assert dense.shape == (2, 32, rows, columns)


def test_other_sizes_are_refused(backbone):
    with pytest.raises(ValueError, match="multiples of its patch of 8 pixels, got 60 x 64"):
        backbone(images(60, 64))


def test_maps_keep_the_pixels_where_they_are(backbone):
    """Changing a corner of the image changes the value path of that corner's token most."""
    backbone = tiny_backbone(clip=dict(model=clip_geometry(1, 1)), guidance_layers=(), guidance_channels=())
    original = images(40, 72, batch=1)
    changed = original.clone()
    changed[..., 32:40, 64:72] += 3.0
    moved = (backbone(changed)[0] - backbone(original)[0]).abs().sum(dim=1)[0]
    assert moved.shape == (5, 9)
    expected = torch.zeros(5, 9, dtype=torch.bool)
    expected[4, 8] = True
    assert torch.equal(moved > 1e-5, expected)


def test_an_image_tower_twice_as_deep():
    """ViT-L/14's proportion: text layer l is tied to the image layers 2 l and 2 l + 1."""
    backbone = tiny_backbone(clip=dict(model=clip_geometry(4, 2)))
    assert backbone.adapter.tensor.shape == (16, 16, 8, 2 + 2 * 3)
    plain = tiny_backbone(clip=dict(model=clip_geometry(4, 2)), adapter=None)
    plain.load_state_dict(backbone.state_dict(), strict=False)
    assert_same(outputs(backbone), outputs(plain), rtol=1e-5, atol=1e-5)
    randomise(backbone.adapter)
    unfolded = outputs(backbone)
    with torch.no_grad():
        assert_same(outputs(backbone), unfolded, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(guidance_layers=(0, 3)), r"guidance_layers \(0, 3\) must be blocks 0 to 2 of the image tower's 4"),
        (dict(guidance_layers=(-1, 1)), r"guidance_layers \(-1, 1\) must be blocks 0 to 2"),
        (dict(guidance_layers=(0,)), "must be two each, or none"),
        (dict(guidance_layers=()), "must be two each, or none"),
        (dict(adapter=dict(type="POP", block_size=20)), "block_size 20 does not divide the text tower's width of 32"),
        (dict(adapter=dict(type="LoRAX")), "adapter.type must be one of .*not 'LoRAX'"),
        (dict(adapter=pop_config(rank=3)), "rank"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_backbone(**changes)


def test_a_copy_is_apart(backbone):
    with torch.no_grad():
        before = outputs(backbone)
        twin = copy.deepcopy(backbone)
        write_adapters(twin)
        assert_same(outputs(backbone), before, rtol=0, atol=0)
        assert differ(outputs(twin)[2:], before[2:])


def test_under_somebody_elses_closed_set_head():
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="EncoderDecoder",
            data_preprocessor=PREPROCESSOR,
            backbone=backbone_config(),
            decode_head=dict(
                type="FCNHead", in_channels=32, in_index=2, channels=8, num_convs=1, num_classes=5, dropout_ratio=0,
                norm_cfg=dict(type="BN"), loss_decode=dict(type="CrossEntropyLoss"),
            ),
        )
    )  # fmt: skip
    samples = [SegDataSample() for _ in range(2)]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 5, (1, 64, 64)))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    before = model.backbone.adapter.tensor.detach().clone()
    losses = []
    for _ in range(3):
        loss = model.loss(images(), samples)["decode.loss_ce"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[2] < losses[0]
    assert not torch.equal(model.backbone.adapter.tensor, before)
