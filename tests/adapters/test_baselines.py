"""What H-CLIP is compared with: each method against open_clip's own forward pass with the method written into it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from tiny_models import clip_geometry, randomise, tiny_backbone, tiny_segmentor
from torch import Tensor, nn

from hclip_mmseg.adapters import PROJECTIONS, build_adapter
from hclip_mmseg.clip import resolve_templates, tokenize
from hclip_mmseg.conversion import folded_state_dict

TOKENS = tokenize(["cat", "red striped star", "grass"], resolve_templates("scene"))[:, 0]
CONFIGS = dict(
    LoRA=dict(type="LoRA", rank=3, alpha=6),
    OFT=dict(type="OFT", block_size=8),
    DCRC=dict(type="DCRC", block_size=16),
    VPT=dict(type="VPT", length=5),
    HoulsbyAdapter=dict(type="HoulsbyAdapter", bottleneck=6),
    LST=dict(type="LST", image_side=8, text_side=12, head_width=4),
    SSF=dict(type="SSF"),
)
FOLDABLE = ["LoRA", "OFT", "DCRC", "SSF"]
UNFOLDABLE = ["VPT", "HoulsbyAdapter", "LST"]
VITB16 = dict(image_layers=12, text_layers=12, image_width=768, text_width=512)


def images(size: int = 64) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def adapted(kind: str, seed: int = 0, random: bool = True, **changes):
    backbone = tiny_backbone(seed, adapter=CONFIGS[kind], **{"train_positions": False, **changes})
    if random:
        for parameter in backbone.adapter.parameters():
            if parameter.requires_grad:
                randomise(nn.ParameterList([parameter]), 0.2)
    return backbone


def outputs(backbone) -> list[Tensor]:
    """All that comes out of the backbone's doors."""
    return [*backbone(images()), backbone.encode_text(TOKENS), backbone.encode_image(images())]


def assert_same(found: list[Tensor], expected: list[Tensor], **tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **{"rtol": 1e-4, "atol": 1e-5, **tolerance})


def open_clip_of(backbone) -> CLIP:
    """open_clip's own model with the weights of a backbone."""
    clip = CLIP(**clip_geometry()).eval().requires_grad_(False)
    state = {}
    for name, value in backbone.state_dict().items():
        if name.startswith("image_tower."):
            state["visual." + name.removeprefix("image_tower.")] = value
        elif name.startswith("text_tower."):
            state[name.removeprefix("text_tower.")] = value
    clip.load_state_dict({**state, "logit_scale": backbone.logit_scale})
    return clip


def blocks_of(clip: CLIP, tower: str):
    return (clip.visual if tower == "image" else clip).transformer.resblocks


@torch.no_grad()
def write_into_weights(clip: CLIP, change: Callable[[str, int, int, Tensor], Tensor]) -> None:
    """Replaces W of each projection by change(tower, layer, projection, W)."""
    for tower in ("image", "text"):
        for layer, block in enumerate(blocks_of(clip, tower)):
            rows = [*block.attn.in_proj_weight.chunk(3), block.attn.out_proj.weight]
            rows = [change(tower, layer, index, weight) for index, weight in enumerate(rows)]
            block.attn.in_proj_weight.copy_(torch.cat(rows[:3]))
            block.attn.out_proj.weight.copy_(rows[3])


def write_lora(clip: CLIP, adapter) -> None:
    state = adapter.state_dict()

    def change(tower, layer, index, weight):
        name = f"layers.{tower}.{layer}.{PROJECTIONS[index]}"
        return weight + 6 / 3 * state[f"{name}.lora_up.weight"] @ state[f"{name}.lora_down.weight"]

    write_into_weights(clip, change)


def write_oft(clip: CLIP, adapter) -> None:
    columns = {"text": (0, 4), "image": (4, 6)}  # 32 and 48 wide, in blocks of 8; the text tower's first

    def change(tower, layer, index, weight):
        start, count = columns[tower]
        turns = []
        for column in range(start, start + count):
            x = adapter.tensor[:, :, 4 * layer + index, column]
            skew, eye = (x - x.T) / 2, torch.eye(8)
            turns.append((eye - skew) @ torch.linalg.inv(eye + skew))
        return weight @ torch.block_diag(*turns)

    write_into_weights(clip, change)


def write_dcrc(clip: CLIP, adapter) -> None:
    rows, columns = adapter.relation.layers, adapter.relation.columns  # Lambda, M_l; 2 text blocks, 3 image

    def change(tower, layer, index, weight):
        if tower == "text":
            return weight
        factors = rows[4 * layer + index].sum() * columns[layer, 2:, 2:].sum(dim=1)
        return (factors if index == 3 else torch.ones(3)).repeat_interleave(16)[:, None] * weight * (
            torch.ones(3) if index == 3 else factors
        ).repeat_interleave(16)

    write_into_weights(clip, change)


def write_ssf(clip: CLIP, adapter) -> None:
    state = adapter.state_dict()

    def affine(name: str, x: Tensor) -> Tensor:
        return x * state[f"{name}.scale"] + state[f"{name}.shift"]

    def behind(module: nn.Module, name: str) -> None:
        module.register_forward_hook(lambda module, inputs, output: affine(name, output))

    for tower in ("image", "text"):
        for layer, block in enumerate(blocks_of(clip, tower)):
            name = f"blocks.{tower}.{layer}"
            behind(block.ln_1, f"{name}.ln_1")
            behind(block.ln_2, f"{name}.ln_2")
            behind(block.mlp.c_fc, f"{name}.fc_1")
            behind(block.mlp.c_proj, f"{name}.fc_2")
            behind_attention(block.attn, lambda x, name=name: affine(f"{name}.out", x))
            # q, k and v come out of one operation of open_clip, so theirs can only stand in its weights
            attention = block.attn
            with torch.no_grad():
                scale = torch.cat([state[f"{name}.{p}.scale"] for p in "qkv"])
                shift = torch.cat([state[f"{name}.{p}.shift"] for p in "qkv"])
                attention.in_proj_weight.mul_(scale[:, None])
                attention.in_proj_bias.mul_(scale).add_(shift)
    behind(clip.visual.ln_pre, "ends.image.ln_pre")
    behind(clip.visual.ln_post, "ends.image.ln_last")
    behind(clip.ln_final, "ends.text.ln_last")


def behind_attention(attention: nn.MultiheadAttention, change: Callable[[Tensor], Tensor]) -> None:
    attention.register_forward_hook(lambda module, inputs, output: (change(output[0]), output[1]))


def write_houlsby(clip: CLIP, adapter) -> None:
    state = adapter.state_dict()

    def bottleneck(name: str, x: Tensor) -> Tensor:
        hidden = F.gelu(x @ state[f"{name}.down.weight"].T + state[f"{name}.down.bias"])
        return x + hidden @ state[f"{name}.up.weight"].T + state[f"{name}.up.bias"]

    for tower in ("image", "text"):
        for layer, block in enumerate(blocks_of(clip, tower)):
            name = f"blocks.{tower}.{layer}"
            behind_attention(block.attn, lambda x, name=name: bottleneck(f"{name}.attention", x))
            block.mlp.register_forward_hook(
                lambda module, inputs, output, name=name: bottleneck(f"{name}.mlp", output)
            )


def write_vpt(clip: CLIP, adapter) -> None:
    """Every sequence goes through every block with the prompts in front, and loses them again."""

    def insert(prompts: Tensor):
        def hook(block, args, kwargs):
            x = args[0]
            x = torch.cat([prompts.expand(len(x), -1, -1), x], dim=1)
            mask = kwargs.get("attn_mask")
            if mask is not None:
                mask = torch.full((x.shape[1],) * 2, float("-inf")).triu(1)
            return (x,), {**kwargs, "attn_mask": mask}

        return hook

    for tower in ("image", "text"):
        for layer, block in enumerate(blocks_of(clip, tower)):
            prompts = adapter.tokens[tower][layer].detach()
            block.register_forward_pre_hook(insert(prompts), with_kwargs=True)
            block.register_forward_hook(lambda module, inputs, output: output[:, 5:])


def write_lst(clip: CLIP, adapter) -> None:
    heads = dict(image=2, text=3)

    def attention(network: dict[str, Tensor], name: str, x: Tensor, tower: str) -> Tensor:
        q, k, v = (x @ network[f"{name}.in_proj_weight"].T + network[f"{name}.in_proj_bias"]).chunk(3, dim=-1)
        mixed = []
        for part in range(heads[tower]):
            one = slice(4 * part, 4 * part + 4)
            scores = q[..., one] @ k[..., one].mT / 2.0  # sqrt(4)
            if tower == "text":
                scores = scores + torch.full(scores.shape[-2:], float("-inf")).triu(1)
            mixed.append(scores.softmax(-1) @ v[..., one])
        return torch.cat(mixed, -1) @ network[f"{name}.out_proj.weight"].T + network[f"{name}.out_proj.bias"]

    def linear(network: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
        return x @ network[f"{name}.weight"].T + network[f"{name}.bias"]

    def norm(network: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:]) * network[f"{name}.weight"] + network[f"{name}.bias"]

    def side(tower: str, states: list[Tensor]) -> Tensor:
        prefix = f"networks.{tower}."
        network = {
            n.removeprefix(prefix): p for n, p in adapter.state_dict().items() if n.startswith(prefix)
        }
        x = None
        for layer, state in enumerate(states):
            down = linear(network, f"downs.{layer}", state)
            if x is not None:
                gate = torch.sigmoid(network["gates"][layer - 1] / 0.1)
                down = gate * down + (1 - gate) * x
            name = f"blocks.{layer}"
            x = down + attention(network, f"{name}.self_attn", norm(network, f"{name}.norm1", down), tower)
            hidden = F.gelu(linear(network, f"{name}.linear1", norm(network, f"{name}.norm2", x)))
            x = x + linear(network, f"{name}.linear2", hidden)
        if adapter.form == "in_place":
            return linear(network, "up", norm(network, "norm", x))
        return states[-1] + linear(network, "up", x)

    for tower in ("image", "text"):
        states: list[Tensor] = []
        blocks = blocks_of(clip, tower)

        def collect(module, inputs, output, tower=tower, states=states):
            states.append(output)
            return side(tower, states) if len(states) == 4 else output

        for block in blocks:
            block.register_forward_hook(collect)


WRITE = dict(
    LoRA=write_lora, OFT=write_oft, DCRC=write_dcrc, SSF=write_ssf, HoulsbyAdapter=write_houlsby, VPT=write_vpt,
    LST=write_lst,
)  # fmt: skip


@pytest.mark.parametrize("kind", CONFIGS)
def test_computes_what_its_paper_says(kind):
    backbone = adapted(kind)
    plain = [backbone.encode_image(images()), backbone.encode_text(TOKENS)]
    clip = open_clip_of(backbone)
    start = [clip.encode_image(images()), clip.encode_text(TOKENS)]
    with torch.no_grad():
        WRITE[kind](clip, backbone.adapter)
        expected = [clip.encode_image(images()), clip.encode_text(TOKENS)]
    assert_same(plain, expected)
    changed = start[:1] if kind == "DCRC" else start  # DCRC alone leaves the text tower as it is
    for one, other in zip(plain, changed, strict=False):
        assert (one - other).abs().max() > 1e-3, "the adapter had no effect, so nothing was compared"


def dense_literal(clip: CLIP, images: Tensor) -> Tensor:
    """The dense form written out on open_clip's modules, whose hooks do the adapter's work."""
    visual = clip.visual
    x = visual._embeds(images)
    *first, block = visual.transformer.resblocks
    for module in first:
        x = module(x)
    normed = block.ln_1(x)
    values = F.linear(normed, block.attn.in_proj_weight[96:], block.attn.in_proj_bias[96:])
    # attention that keeps every token to itself, so that the hook behind it is used
    eye = torch.eye(48)
    attention = copy.deepcopy(block.attn)
    attention.in_proj_weight[96:] = eye
    attention.in_proj_bias[96:] = 0
    mask = torch.full((x.shape[1],) * 2, float("-inf")).fill_diagonal_(0)
    tokens = attention(values, values, values, need_weights=False, attn_mask=mask)[0] + x[:, :1]
    tokens = tokens + block.mlp(block.ln_2(tokens))
    return (visual.ln_post(tokens) @ visual.proj)[:, 1:].transpose(1, 2).unflatten(2, (8, 8))


@pytest.mark.parametrize("kind", ["LoRA", "SSF", "HoulsbyAdapter"])
def test_the_dense_form_is_adapted_too(kind):
    backbone = adapted(kind)
    found = backbone(images())[-1]
    clip = open_clip_of(backbone)
    with torch.no_grad():
        WRITE[kind](clip, backbone.adapter)
        torch.testing.assert_close(found, dense_literal(clip, images()), rtol=1e-4, atol=1e-5)


def test_the_published_side_network_stands_in_the_last_blocks_place():
    """Its result behind a norm, without the last block's output, in both towers."""
    backbone = tiny_backbone(adapter=dict(CONFIGS["LST"], form="in_place"), train_positions=False)
    names = {name for name, _ in backbone.adapter.named_parameters()}
    assert {f"networks.{tower}.norm.weight" for tower in ("image", "text")} <= names
    assert backbone.adapter.networks["image"].up.weight.abs().sum() > 0
    randomise(backbone.adapter, 0.2)
    found = [backbone.encode_image(images()), backbone.encode_text(TOKENS)]
    clip = open_clip_of(backbone)
    with torch.no_grad():
        WRITE["LST"](clip, backbone.adapter)
        torch.testing.assert_close(found[0], clip.encode_image(images()), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[1], clip.encode_text(TOKENS), rtol=1e-4, atol=1e-5)
    states = [torch.randn(2, 7, 48, requires_grad=True) for _ in range(4)]
    backbone.adapter.side("image", states).square().sum().backward()
    assert all(state.grad is None for state in states)


def test_the_side_network_reads_the_dense_last_block():
    backbone = adapted("LST")
    blocks = []
    network = backbone.adapter.networks["image"]
    network.register_forward_pre_hook(lambda module, args: blocks.append(args[0]))
    dense = backbone(images())[-1]
    raised = network(blocks[0])
    tokens = backbone.image_tower.project(blocks[0][-1] + raised)
    torch.testing.assert_close(dense.flatten(2).transpose(1, 2), tokens[:, 1:])
    assert len(blocks[0]) == 4


@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if kind != "VPT"])
def test_training_starts_as_plain_clip(kind):
    backbone, plain = adapted(kind, random=False), tiny_backbone(adapter=None)
    missing, unexpected = plain.load_state_dict(backbone.state_dict(), strict=False)
    assert not missing and all(name.startswith("adapter.") for name in unexpected)
    assert_same(outputs(backbone), outputs(plain), atol=1e-6)


@pytest.mark.parametrize("kind", FOLDABLE)
def test_folded_is_unfolded(kind):
    backbone = adapted(kind)
    unfolded = outputs(backbone)
    with torch.no_grad():
        folded = outputs(backbone)
        assert_same(folded, unfolded)
        next(p for p in backbone.adapter.parameters() if p.requires_grad).mul_(1.5)
        later = outputs(backbone)
    assert (later[2] - folded[2]).abs().max() > 1e-4, "stale"
    assert_same(later, outputs(backbone))


@pytest.mark.parametrize("kind", UNFOLDABLE)
def test_what_cannot_fold_says_so_and_runs_unfolded(kind):
    backbone = adapted(kind)
    unfolded = outputs(backbone)
    with torch.no_grad():
        backbone.fold()
        assert_same(outputs(backbone), unfolded)
    with pytest.raises(ValueError, match=f"{kind} cannot be folded"):
        backbone.folded_parameters("image")


def test_ssf_folds_for_good():
    model = tiny_segmentor(names=("cat", "dog"), backbone=backbone_like("SSF"))
    plain = tiny_segmentor(names=("cat", "dog"), backbone=backbone_like(None))
    plain.load_state_dict(folded_state_dict(model))
    image = torch.randn(1, 3, 80, 100)
    expected, found = model.predict(image)[0], plain.predict(image)[0]
    torch.testing.assert_close(found.seg_logits.data, expected.seg_logits.data, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="LST cannot be folded"):
        folded_state_dict(tiny_segmentor(names=("cat",), backbone=backbone_like("LST")))


def backbone_like(kind: str | None) -> dict:
    return dict(
        type="HCLIPBackbone", clip=dict(model=clip_geometry()), guidance_layers=(0, 1), guidance_channels=(16, 8),
        adapter=None if kind is None else CONFIGS[kind],
    )  # fmt: skip


@pytest.mark.parametrize("kind", CONFIGS)
def test_gradients_reach_the_adapter_and_nothing_else(kind):
    backbone = adapted(kind, guidance_layers=(), guidance_channels=())
    sum(x.square().mean() for x in outputs(backbone)).backward()
    reached = {name for name, p in backbone.named_parameters() if p.grad is not None}
    own = {name for name, p in backbone.named_parameters() if name.startswith("adapter.")}
    if kind == "DCRC":
        own -= {"adapter.tensor"}
    assert reached == own
    dead = {n for n, p in backbone.named_parameters() if p.grad is not None and not p.grad.abs().sum() > 0}
    assert not dead


def test_the_side_network_sends_no_gradient_into_the_tower():
    adapter = adapted("LST").adapter
    states = [torch.randn(2, 7, 48, requires_grad=True) for _ in range(4)]
    adapter.side("image", states).square().sum().backward()
    assert [state.grad is None for state in states] == [True, True, True, False]
    assert torch.equal(states[-1].grad, 2 * adapter.side("image", states))


@pytest.mark.parametrize("kind", CONFIGS)
def test_bf16_trains(kind):
    backbone = adapted(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = sum(x.float().square().mean() for x in outputs(backbone))
    loss.backward()
    exact = sum(x.square().mean() for x in outputs(backbone))
    assert torch.isclose(loss, exact, rtol=0.05)
    assert all(p.grad.isfinite().all() for p in backbone.adapter.parameters() if p.requires_grad)


@pytest.mark.parametrize("kind", CONFIGS)
def test_state_dict_round_trip(kind):
    backbone = adapted(kind)
    expected = outputs(backbone)
    fresh = adapted(kind, seed=3)
    fresh.load_state_dict(backbone.state_dict())
    assert_same(outputs(fresh), expected, rtol=0, atol=0)
    with torch.no_grad():
        assert_same(outputs(fresh), expected)


@pytest.mark.parametrize("kind", CONFIGS)
def test_one_tower_alone(kind):
    backbone = tiny_backbone(adapter={**CONFIGS[kind], "text": False})
    plain = tiny_backbone(adapter=None)
    plain.load_state_dict(backbone.state_dict(), strict=False)
    for parameter in backbone.adapter.parameters():
        if parameter.requires_grad:
            randomise(nn.ParameterList([parameter]), 0.2)
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            torch.testing.assert_close(backbone.encode_text(TOKENS), plain.encode_text(TOKENS))
            assert (backbone(images())[-1] - plain(images())[-1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_built_after_starts_alike(kind):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    sizes = dict(image_layers=4, text_layers=4, image_width=48, text_width=32)
    one = build_adapter(CONFIGS[kind], **sizes)
    assert torch.equal(torch.rand(3), expected)
    other = build_adapter(CONFIGS[kind], **sizes)
    random = [name for name, p in one.named_parameters() if not torch.equal(p, other.get_parameter(name))]
    assert bool(random) == (kind in ("LoRA", "VPT", "HoulsbyAdapter", "LST")), "its own start follows the seed"


def test_dropout_of_lora_is_for_training_alone():
    adapter = build_adapter(
        dict(type="LoRA", rank=2, drop_rate=0.5), image_layers=1, text_layers=1, image_width=8, text_width=8
    )
    randomise(adapter)
    x, weight = torch.randn(64, 8), torch.randn(8, 8)
    expected = F.linear(x, adapter.adapted_weight("image", 0, "q", weight))
    assert not torch.allclose(adapter.linear("image", 0, "q", x, weight), expected)
    torch.testing.assert_close(adapter.eval().linear("image", 0, "q", x, weight), expected)


@pytest.mark.parametrize(
    "config, count",
    [
        # r (in + out) for 12 layers, 4 projections: 4 * 12 * 64 * 2 * (768 + 512)
        (dict(type="LoRA", rank=64), 7_864_320),
        # 128^2 for each of 12 * 4 * (6 + 4) blocks
        (dict(type="OFT", block_size=128), 7_864_320),
        # 12 * 150 * (768 + 512)
        (dict(type="VPT", length=150), 2_304_000),
        # 2 * 12 * (2 * 128 w + 128 + w) for w = 768 and 512
        (dict(type="HoulsbyAdapter", bottleneck=128), 7_901_184),
        # 12 * 22 w, and 4 w outside of the image tower's blocks, 2 w outside of the text tower's
        (dict(type="SSF"), 342_016),
        # 12 (12 s^2 + 13 s) + 12 (w s + s) + (w s + w) + 11 for (w, s) = (768, 256) and (512, 224)
        (dict(type="LST"), 12_036_875 + 8_754_443),
        (dict(type="LST", form="in_place"), 12_036_875 + 8_754_443 + 2 * (256 + 224)),
        # 48^2 + 12 * 10^2
        (dict(type="DCRC"), 3_504),
        # 2 * 10^2 + 2 * 48^2 + 10 * 12
        (dict(type="DCRC", relation=dict(type="mlp")), 4_928),
        # 2 * 12 * (768^2 + 512^2)
        (dict(type="TrainedProjections"), 20_447_232),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_numbers_trained_in_vitb16(config, count):
    adapter = build_adapter(config, **VITB16)
    assert sum(p.numel() for p in adapter.parameters() if p.requires_grad) == count


def test_oft_counts_orthogonal_numbers_half():
    assert build_adapter(dict(type="OFT"), **VITB16).count_parameters().free == 3_932_160  # 3.75 Mi


@pytest.mark.parametrize(
    "config, message",
    [
        (dict(type="LoRA", rank=0), "rank of a LoRA must be at least 1, not 0"),
        (dict(type="LoRA", projections=("q", "w")), "projections must be some of"),
        (dict(type="OFT", block_size=100), "block_size 100 does not divide the text tower's width of 512"),
        (dict(type="DCRC", relation=None), "needs one; relation is None"),
        (dict(type="VPT", length=0), "at least 1 prompt a block, not 0"),
        (dict(type="HoulsbyAdapter", bottleneck=0), "at least 1 wide, not 0"),
        (dict(type="LST", text_side=100), "head_width 32 does not divide text_side, which is 100"),
        (dict(type="SSF", image=False, text=False), "at least one tower"),
        (dict(type="SSF", rank=3), "'SSF' cannot be built with {'rank': 3}"),
    ],
)
def test_what_does_not_fit_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        build_adapter(config, **VITB16)
