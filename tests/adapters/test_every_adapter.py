"""Every adapter in every model that takes one: what it trains acts and gets a gradient, or is named as dead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from tiny_detectors import tiny_detector
from tiny_mask_models import tiny_fisa
from tiny_models import backbone_config, randomise, tiny_backbone, tiny_segmentor
from torch import Tensor, nn

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.adapters.build import ADAPTERS, build_adapter
from hclip_mmseg.clip import with_parameters
from hclip_mmseg.mask_classification.fisa.mask_token_tower import MaskTokenTower

OPTIONS: dict[str, dict[str, Any]] = dict(
    POP=dict(block_size=16),
    DCRC=dict(block_size=16),
    OFT=dict(block_size=8),
    LoRA=dict(rank=3),
    VPT=dict(length=5),
    HoulsbyAdapter=dict(bottleneck=6),
    LST=dict(image_side=8, text_side=12, head_width=4),
)
KINDS = [(kind, {}) for kind in ADAPTERS] + [("POP", dict(relation=None))]
FOLDABLE = [(kind, changes) for kind, changes in KINDS if ADAPTERS[kind].foldable]
NAMES = ("cat", "red star", "grass")
NOISE = 0.1


class Case(NamedTuple):
    """A model in float64, its module that holds the adapter, and what it computes."""

    holder: nn.Module
    adapter: Adapter
    outputs: Callable[[], list[Tensor]]


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def segmentor(adapter: dict[str, Any]) -> Case:
    model = tiny_segmentor(names=NAMES, backbone=backbone_config(adapter=adapter)).double()
    backbone = model.backbone
    images = draw(1, 3, 64, 64)

    def outputs() -> list[Tensor]:
        text = model.text_encoder(backbone.encode_text, backbone.text_parameters())
        *guidance, dense = backbone(images)
        return [model.decode_head((dense, *guidance, text.double()))]

    return Case(backbone, backbone.adapter, outputs)


def detector(adapter: dict[str, Any]) -> Case:
    model = tiny_detector(NAMES, adapter=adapter).double()
    backbone = model.backbone
    images = draw(1, 3, 64, 64)

    def outputs() -> list[Tensor]:
        text = model.text_encoder(backbone.encode_text, backbone.text_parameters())
        return [*backbone(images), text.double()]

    return Case(backbone, backbone.adapter, outputs)


def frozen_form(adapter: dict[str, Any]) -> Case:
    """The backbone whose last block stops before its MLP."""
    backbone = tiny_backbone(adapter=adapter, residual="value", guidance_layers=(), guidance_channels=())
    randomise(backbone.adapter, NOISE)
    backbone = backbone.double()
    images, tokens = draw(1, 3, 64, 64), torch.tensor([[49406, 320, 2368, 49407]])
    return Case(backbone, backbone.adapter, lambda: [*backbone(images), backbone.encode_text(tokens)])


def fisa(adapter: dict[str, Any]) -> Case:
    model = tiny_fisa(noise=NOISE, tuning=adapter).double()
    backbone = model.backbone
    images, masks, classes = draw(1, 3, 64, 64), 4 * draw(1, 6, 16, 16), draw(4, 32)
    return Case(backbone, backbone.mask_tokens.adapter, lambda: [backbone(images, masks, classes)])


MODELS = dict(segmentor=segmentor, detector=detector, frozen_form=frozen_form, fisa=fisa)
EVERY = [
    pytest.param(make, kind, changes, id=f"{model}-{kind}{''.join(changes)}")
    for model, make in MODELS.items()
    for kind, changes in (FOLDABLE if make is fisa else KINDS)
]


def build(make: Callable[[dict[str, Any]], Case], kind: str, changes: dict[str, Any]) -> Case:
    return make({"type": kind, **OPTIONS.get(kind, {}), **changes})


def dead_numbers(case: Case) -> dict[str, Tensor]:
    """Name in the holder -> True where a number is named as dead."""
    masks = {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in case.holder.named_parameters()}
    for name, where in case.holder.dead_parameters():
        assert not masks[name][where].any(), "named twice"
        masks[name][where] = True
    return masks


def moved(before: list[Tensor], after: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("make, kind, changes", EVERY)
def test_what_is_trained_gets_a_gradient_and_acts(make, kind, changes):
    case = build(make, kind, changes)
    dead = dead_numbers(case)
    outputs = case.outputs()
    generator = torch.Generator().manual_seed(2)
    weights = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in outputs]
    sum((x * weight).sum() for x, weight in zip(outputs, weights, strict=True)).backward()
    own = set(case.adapter.parameters())
    trained = {name: p for name, p in case.holder.named_parameters() if p.requires_grad and p in own}
    assert trained
    with torch.no_grad():
        before = case.outputs()
        for name, parameter in trained.items():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert gradient[dead[name]].abs().sum() < 1e-10, f"{name} is not dead"
            if dead[name].all():
                continue
            assert gradient[~dead[name]].abs().max() > 1e-8, f"{name} gets no gradient"
            kept = parameter.clone()
            parameter.add_(NOISE * torch.randn_like(parameter) * ~dead[name])
            assert moved(before, case.outputs()) > 1e-7, f"{name} changes nothing"
            parameter.copy_(kept)
        for name, parameter in trained.items():
            parameter.add_(dead[name].double())
        assert moved(before, case.outputs()) < 1e-8


@pytest.mark.parametrize("make, kind, changes", [each for each in EVERY if ADAPTERS[each.values[1]].foldable])
def test_folded_is_unfolded(make, kind, changes):
    case = build(make, kind, changes)
    unfolded = [x.detach() for x in case.outputs()]
    with torch.no_grad():
        if make is fisa:
            mask_tokens = case.holder.mask_tokens
            tower = with_parameters(mask_tokens.tower, case.adapter.folded("image", mask_tokens.tower))
            case.holder.mask_tokens = MaskTokenTower(tower, mask_tokens.seve)
        folded = case.outputs()
        assert moved(unfolded, folded) < 1e-8
        for parameter in case.adapter.parameters():
            parameter.zero_()
        if make is not fisa:
            assert moved(unfolded, case.outputs()) > 1e-3, "the adapter had no effect"


def count(case: Case) -> int:
    return sum(int(mask.sum()) for mask in dead_numbers(case).values())


def test_numbers_named_as_dead():
    width, layers = 48, 4
    assert count(build(segmentor, "VPT", {})) == 5 * width
    assert count(build(segmentor, "TrainedProjections", {})) == width**2  # q; v is used
    assert count(build(segmentor, "LoRA", {})) == 2 * 2 * 3 * width
    assert count(build(segmentor, "POP", {})) == 0  # the relation mixes them with others
    assert count(build(segmentor, "OFT", {})) == 2 * width * 8
    shifts_of_k = layers * (width + 32)
    assert count(build(segmentor, "SSF", {})) == shifts_of_k + 3 * width  # the last block's q, and its k's scale
    assert count(build(frozen_form, "HoulsbyAdapter", {})) == 2 * width * 6 + 6 + width
    assert count(build(frozen_form, "SSF", {})) == shifts_of_k + 3 * width + 2 * (1 + 4 + 1) * width
    assert count(build(fisa, "LoRA", {})) == 0


def test_an_adapter_of_the_image_tower_alone_leaves_the_text_tower_as_it_is():
    tokens = torch.tensor([[49406, 320, 2368, 49407]])
    for kind in ADAPTERS:
        adapter = dict(type=kind, text=False, **OPTIONS.get(kind, {}))
        backbone, plain = tiny_backbone(adapter=adapter), tiny_backbone(adapter=None)
        randomise(backbone.adapter)
        with torch.no_grad():
            torch.testing.assert_close(backbone.encode_text(tokens), plain.encode_text(tokens), msg=kind)
            assert (backbone(draw(1, 3, 64, 64).float())[-1] - plain(draw(1, 3, 64, 64).float())[-1]).abs().max() > 1e-4


PARTS = [(kind, {}) for kind in ADAPTERS if kind != "VPT"] + [("POP", dict(relate="R")), ("LST", dict(form="in_place"))]


def features(backbone: nn.Module, strength: float | None = None) -> list[Tensor]:
    """Dense tokens and a text embedding, with no gradient, so folded where that is possible."""
    if strength is not None:
        backbone.adapter.strength = strength
    backbone.forget()
    with torch.no_grad():
        return unfolded_features(backbone)


def unfolded_features(backbone: nn.Module) -> list[Tensor]:
    return [backbone(draw(1, 3, 64, 64)).dense, backbone.encode_text(torch.tensor([[49406, 320, 2368, 49407]]))]


@pytest.mark.parametrize(("kind", "changes"), PARTS)
def test_strength_leads_from_plain_clip_to_what_was_trained(kind, changes):
    backbone = build(segmentor, kind, changes).holder
    trained = features(backbone)
    plain, half = features(backbone, 0), features(backbone, 0.5)
    assert moved(half, unfolded_features(backbone)) < 1e-8
    assert moved(trained, features(backbone, 1)) == 0
    assert moved(plain, half) > 1e-4 and moved(half, trained) > 1e-4
    backbone.adapter = None
    assert moved(plain, features(backbone)) < 1e-8


@pytest.mark.parametrize("kind", ["LoRA", "TrainedProjections", "SSF"])
def test_strength_is_a_part_of_what_the_weights_learnt(kind):
    """As in WiSE-FT: folded weights lie on the line between CLIP's and those that all of the adapter gives."""
    case = build(segmentor, kind, {})
    towers = {"image": case.holder.image_tower, "text": case.holder.text_tower}
    frozen = {name: dict(tower.named_parameters()) for name, tower in towers.items()}
    whole = {tower: case.holder.folded_parameters(tower) for tower in frozen}
    case.adapter.strength = 0.3
    for tower, weights in whole.items():
        for name, found in case.holder.folded_parameters(tower).items():
            torch.testing.assert_close(found, torch.lerp(frozen[tower][name], weights[name], 0.3))


def test_wrong_strengths_are_said():
    sizes = dict(image_layers=2, text_layers=2, image_width=8, text_width=8)
    assert build_adapter(dict(type="LoRA", rank=2, strength=0.25), **sizes).strength == 0.25
    with pytest.raises(ValueError, match="between 0, plain CLIP, and 1"):
        build_adapter(dict(type="LoRA", rank=2, strength=1.5), **sizes)
    with pytest.raises(ValueError, match="VPT has no strength"):
        build_adapter(dict(type="VPT", strength=0.5), **sizes)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("lora", "dict.type='LoRA'."),
        (dict(type="Lora"), "did you mean 'LoRA'"),
        (dict(type="PPO"), "did you mean 'POP'"),
    ],
)
def test_a_mistyped_adapter_is_told_the_nearest(config, said):
    with pytest.raises(ValueError, match=said):
        build_adapter(config, image_layers=2, text_layers=2, image_width=8, text_width=8)
