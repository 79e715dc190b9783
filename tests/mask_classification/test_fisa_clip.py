"""CLIP as FISA trains and uses it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny_eva import GEOMETRY as EVA
from tiny_models import clip_geometry, randomise

from hclip_mmseg.clip import EvaTower, ImageTower, tokenize
from hclip_mmseg.mask_classification.fisa.fisa_clip import FISACLIP
from hclip_mmseg.reference import fisa as direct_fisa

NAMES = ("cat", "grass", "traffic light")
PARTS = dict(seve=dict(inner_width=8, heads=2), distribution_adapter=dict(channels=2))


def fisa_clip(seed: int = 0, model=None, noise: float = 0.1, **changes) -> FISACLIP:
    torch.manual_seed(seed)
    settings = {**dict(clip=dict(model=model or clip_geometry()), resolution=96), **PARTS, **changes}
    clip = FISACLIP(**settings)
    if noise:
        randomise(clip, noise)
    return clip


def class_tokens(clip: FISACLIP) -> torch.Tensor:
    return F.normalize(clip.encode_text(tokenize(NAMES, ("a photo of a {}.",))[:, 0]), dim=-1)


def score(clip: FISACLIP) -> torch.Tensor:
    """Something that depends on all that a training step computes."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 80, 120, generator=generator)
    masks = clip.adapt(torch.randn(2, 3, 20, 30, generator=generator) - 1)
    text = class_tokens(clip)
    embeddings = F.normalize(clip(images, masks, text), dim=-1)
    return (
        F.cross_entropy((10 * embeddings @ text.T).flatten(0, 1), torch.tensor([0, 1, 2] * 2)) + masks.square().mean()
    )


def trained(clip: FISACLIP) -> set[str]:
    return {name for name, parameter in clip.named_parameters() if parameter.requires_grad}


OWN = ("mask_tokens.seve.", "distribution_adapter.")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (dict(seve=None, distribution_adapter=None, tuning="none"), ()),
        (dict(tuning="none"), OWN),
        (dict(tuning="queries"), (*OWN, "mask_tokens.queries.")),
        (dict(tuning="full"), (*OWN, "mask_tokens.tower.")),
        (dict(tuning=dict(type="LoRA", rank=4)), (*OWN, "mask_tokens.adapter.")),
        (dict(tuning="queries", train_text=True), (*OWN, "mask_tokens.queries.", "text_tower.")),
    ],
    ids=["baseline", "seve", "fisa", "full", "lora", "text"],
)
@pytest.mark.parametrize("model", [clip_geometry(2, 2), EVA], ids=["vit", "eva"])
def test_a_training_step_moves_what_the_row_names_and_nothing_else(changes, expected, model):
    clip = fisa_clip(model=model, **changes)
    named = {name for name, _ in clip.named_parameters() if expected and name.startswith(expected)}
    assert trained(clip) == named
    if not named:
        return
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in clip.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        score(clip).backward()
        optimizer.step()
    moved = {name for name, value in clip.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == named


def test_parts_are_counted():
    clip = fisa_clip()
    assert clip.trained_parts() == {
        "SEVE": 2 * 8 * (48 + 32),
        "Distribution Adapter": 2 * 10 + 2 * 9 + 1,
        "query projections (SIMO)": 4 * 48 * 49,
    }
    lora = fisa_clip(tuning=dict(type="LoRA", rank=4))
    assert lora.trained_parts()["adapters, image tower"] == 4 * 4 * 2 * 4 * 48
    assert fisa_clip(tuning="none", seve=None, distribution_adapter=None).trained_parts() == {}


def test_lora_starts_as_plain_clip_and_changes_the_image_tokens_as_well():
    plain, lora = fisa_clip(noise=0, tuning="none"), fisa_clip(noise=0, tuning=dict(type="LoRA", rank=4))
    assert torch.equal(score(plain), score(lora))
    randomise(lora.mask_tokens.adapter, 0.3)
    images = torch.randn(1, 3, 96, 96)
    states = [list(clip.mask_tokens.image_states(images)) for clip in (plain, lora)]
    assert torch.equal(states[0][0].tokens, states[1][0].tokens)
    assert not torch.equal(states[0][1].tokens, states[1][1].tokens)


def test_images_of_any_size_become_the_square_that_clip_sees():
    clip = fisa_clip(seve=None, tuning="none")
    images, masks = torch.randn(1, 3, 70, 110), torch.randn(1, 2, 10, 16)
    square = F.interpolate(images, size=(96, 96), mode="bilinear", antialias=True)
    assert torch.equal(clip(images, masks), clip.mask_tokens(square, masks))


@pytest.mark.parametrize(
    ("model", "kind", "queries"),
    [
        ("ViT-B-16-quickgelu", ImageTower, 12 * 768 * 769),
        ("ViT-L-14-336-quickgelu", ImageTower, 24 * 1024 * 1025),
        ("EVA01-g-14-plus", EvaTower, 40 * 1408 * 1409),
    ],
)
def test_the_papers_towers_in_full_size(model, kind, queries):
    with torch.device("meta"):
        clip = FISACLIP(clip=dict(model=model), seve=dict(), distribution_adapter=dict(), resolution=896)
    assert isinstance(clip.mask_tokens.tower, kind)
    parts = clip.trained_parts()
    assert parts["query projections (SIMO)"] == queries
    if model.startswith("ViT-L"):
        assert round(sum(parts.values()) / 1e6) == 26


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="multiple of the patch of 8"):
        fisa_clip(resolution=100)
    with pytest.raises(ValueError, match="tuning must be"):
        fisa_clip(tuning="keys")
    with pytest.raises(ValueError, match="more than change weights"):
        fisa_clip(tuning=dict(type="VPT"))


@pytest.mark.parametrize("seve", [PARTS["seve"], dict(form="printed", inner_width=8)], ids=["added", "printed"])
@pytest.mark.parametrize("model", [clip_geometry(), EVA], ids=["vit", "eva"])
def test_embeddings_and_gradients_are_those_of_one_sequence_written_out(model, seve):
    clip = fisa_clip(model=model, seve=seve)
    images, masks = torch.randn(2, 3, 96, 96), torch.randn(2, 4, 24, 24) - 1
    masks[1, 2] = -5.0
    text = class_tokens(clip)
    gradients = []
    for form in (clip, lambda *inputs: direct_fisa.embeddings(clip, *inputs)):
        clip.zero_grad()
        found = form(images, masks, text)
        found.square().sum().backward()
        gradients.append({name: p.grad for name, p in clip.named_parameters() if p.grad is not None})
        gradients[-1][""] = found.detach()
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], value, rtol=1e-3, atol=1e-4 * float(value.abs().max()), msg=name)
