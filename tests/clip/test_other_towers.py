"""SigLIP, EVA-02, CLIPA, MetaCLIP 2 and timm's ViT against open_clip's own encode_image, encode_text and tokenizers."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from open_clip.tokenizer import HFTokenizer
from other_towers import KINDS, geometry, tiny_clip, tiny_tokenizer
from tiny_models import clip_geometry, pop_config, randomise
from tiny_sed import GEOMETRY as CONVNEXT

from hclip_mmseg.clip import (
    HubTokenizer,
    TextTower,
    TimmTower,
    build_clip,
    image_tower_of,
    tokenize,
    tokenizer_of,
)
from hclip_mmseg.conversion.folding import clip_state_dict
from hclip_mmseg.mask_classification.fisa import FISACLIP
from hclip_mmseg.mask_classification.maft_plus import MAFTPlusCLIP
from hclip_mmseg.models import HCLIPBackbone
from hclip_mmseg.models.necks import TextEncoderNeck
from hclip_mmseg.training_free import TrainingFreeBackbone

HUB = ("siglip", "clipa", "metaclip2")  # those whose tokenizer is of the Hub
NAMES, TEMPLATES = ("cat", "traffic light", "sky"), ("a photo of a {}.", "{}")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module", params=KINDS)
def case(request, tokenizer):
    return request.param, tiny_clip(request.param, tokenizer), tokenizer


def images(height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def backbone_of(kind: str, tokenizer: str, **changes) -> HCLIPBackbone:
    torch.manual_seed(3)
    built = HCLIPBackbone(
        clip=dict(model=geometry(kind, tokenizer)), guidance_layers=(), guidance_channels=(), **changes
    )
    randomise(built.image_tower, 0.05)
    return built.eval()


def test_image_embeddings_are_open_clips(case):
    _, clip, _ = case
    torch.testing.assert_close(image_tower_of(clip.visual).encode_image(images()), clip.encode_image(images()))


def test_names_stay_open_clips(case):
    _, clip, _ = case
    tower = image_tower_of(clip.visual)
    assert tower.state_dict().keys() == clip.visual.state_dict().keys()


def test_text_embeddings_are_open_clips_whole_or_cut(case):
    kind, clip, tokenizer = case
    tower = TextTower(getattr(clip, "text", clip))
    reads = tokenizer_of(geometry(kind, tokenizer), tower)
    tokens = tokenize(NAMES, TEMPLATES, reads).flatten(0, 1)
    expected = clip.encode_text(tokens)
    torch.testing.assert_close(tower(tokens), expected)
    assert tower.cuts == (kind in ("eva02", "metaclip2"))
    neck = TextEncoderNeck(average=False)
    neck.read_with(reads)
    neck.set_vocabulary(NAMES, TEMPLATES)
    with torch.no_grad():
        found = neck(tower, tower.parameters())
    torch.testing.assert_close(found.flatten(0, 1), F.normalize(expected.detach(), dim=-1))


@pytest.mark.parametrize("kind", HUB)
def test_tokens_are_those_of_open_clips_tokenizer(kind, tokenizer):
    text = geometry(kind, tokenizer)["text_cfg"]
    theirs = HFTokenizer(tokenizer, context_length=16, **text.get("tokenizer_kwargs", {}))
    clip = tiny_clip(kind, tokenizer)
    reads = tokenizer_of(geometry(kind, tokenizer), TextTower(getattr(clip, "text", clip)))
    found = tokenize(NAMES, TEMPLATES, reads).flatten(0, 1)
    assert torch.equal(found, theirs([template.format(name) for name in NAMES for template in TEMPLATES]))
    with pytest.raises(ValueError, match=r"class name 1 \('cat cat.*takes 21 tokens.* 16 places"):
        tokenize(("sky", "cat " * 20), ("{}",), reads)


def test_a_tokenizer_that_cannot_be_had_ends_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    reads = HubTokenizer(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="nowhere is not here and cannot be had from the Hugging Face Hub") as said:
        tokenize(("cat",), ("{}",), reads)
    assert "\n" not in str(said.value) and "hf download" in str(said.value)


def test_a_tokenizer_that_is_here_asks_no_server(monkeypatch, tmp_path):
    asked, here = [], []

    def read(name, *, local_files_only=False, cache_dir, **_):
        asked.append((local_files_only, cache_dir))
        if local_files_only and not here:
            raise OSError("not in the cache")
        here.append(name)

    monkeypatch.setattr("hclip_mmseg.clip.tokenizers.HFTokenizer", read)
    monkeypatch.setenv("HCLIP_HOME", str(tmp_path))
    monkeypatch.setenv("HCLIP_OFFLINE", "1")
    with pytest.raises(ValueError, match="the tokenizer own/words is not here"):
        HubTokenizer("own/words").fetch()
    monkeypatch.delenv("HCLIP_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(ValueError, match="the tokenizer own/words is not here"):
        HubTokenizer("own/words").fetch(offline=True)
    assert asked == [(True, tmp_path / "hub")] * 2
    HubTokenizer("own/words").fetch()
    assert asked[2:] == [(True, tmp_path / "hub"), (False, tmp_path / "hub")]
    HubTokenizer("own/words").fetch()
    assert asked[4:] == [(True, tmp_path / "hub")]


def test_siglips_dense_form_is_its_pooling_of_each_patch_alone(tokenizer):
    visual = tiny_clip("siglip", tokenizer).visual
    tower = image_tower_of(visual)
    dense, (inner,) = tower(images(), collect=(1,))
    assert dense.shape == (2, 16, 48) and tower.prefix == 0
    tokens = visual.trunk.forward_features(images())  # behind the last norm
    for place in (0, 7, 15):
        torch.testing.assert_close(dense[:, place], visual.trunk.attn_pool(tokens[:, place : place + 1]))
    kept = visual.trunk.forward_intermediates(images(), indices=[1], output_fmt="NLC", intermediates_only=True)[0]
    torch.testing.assert_close(inner, kept)
    with pytest.raises(ValueError, match="residual='cls' adds the CLS token, which this image tower has not"):
        tower(images(), residual="cls")


def test_eva02_turns_larger_images_as_timm_does(tokenizer):
    clip = tiny_clip("eva02")
    tower = image_tower_of(clip.visual)
    torch.nn.init.zeros_(tower.trunk.pos_embed)  # which timm resizes in another way
    larger = copy.deepcopy(clip.visual.trunk)
    larger.set_input_size((48, 64))
    expected = clip.visual.head(larger(images(48, 64)))
    torch.testing.assert_close(tower.encode_image(images(48, 64)), expected)


@pytest.mark.parametrize("kind", ["siglip", "eva02", "mobileclip2"])
@pytest.mark.parametrize("adapter", ["POP", "SSF", "LoRA"])
def test_adapters_change_the_towers_and_fold(kind, adapter, tokenizer):
    settings = pop_config() if adapter == "POP" else dict(type=adapter)
    if adapter == "SSF" and kind == "eva02":
        with pytest.raises(ValueError, match="SSF scales an MLP of widths"):
            backbone_of(kind, tokenizer, adapter=settings)
        return
    backbone = backbone_of(kind, tokenizer, adapter=settings)
    plain = backbone.image_tower.encode_image(images())
    randomise(backbone.adapter)
    with torch.enable_grad():
        unfolded, embedding = backbone(images(48, 32)).dense, backbone.encode_image(images())
        unfolded.square().sum().backward()
    assert any(parameter.grad is not None for parameter in backbone.adapter.parameters())
    assert not any(parameter.grad is not None for parameter in backbone.image_tower.parameters())
    with torch.no_grad():
        torch.testing.assert_close(backbone(images(48, 32)).dense, unfolded, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(backbone.encode_image(images()), embedding, rtol=1e-4, atol=1e-4)
    assert (embedding - plain).abs().max() > 1e-3
    assert unfolded.shape == (2, backbone.embed_dim, 6, 4)


def test_a_folded_siglip_goes_back_to_open_clip(tokenizer, tmp_path):
    backbone = backbone_of("siglip", tokenizer, adapter=pop_config())
    randomise(backbone.adapter)
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items() if "adapter" not in name}
    with torch.no_grad():
        expected = backbone.encode_image(images())
        for tower in ("image", "text"):
            folded = backbone.folded_parameters(tower)
            state |= {f"backbone.{tower}_tower.{name}": value for name, value in folded.items()}
    torch.save(clip_state_dict(state), tmp_path / "clip.pt")
    clip = build_clip(geometry("siglip", tokenizer), str(tmp_path / "clip.pt"))
    torch.testing.assert_close(clip.encode_image(images()), expected, rtol=1e-4, atol=1e-4)
    tokens = torch.randint(4, 12, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(clip.encode_text(tokens), backbone.encode_text(tokens), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["siglip", "eva02", "clipa"])
def test_what_reads_a_cls_token_of_clips_refuses_others_in_one_line(kind, tokenizer):
    clip = dict(model=geometry(kind, tokenizer))
    with pytest.raises(ValueError, match="mask tokens take the place of a CLS token.*choose ViT-L-14-336") as masks:
        FISACLIP(clip, resolution=32)
    with pytest.raises(ValueError, match="methods without training read the last attention.*choose") as free:
        TrainingFreeBackbone(clip)
    assert "\n" not in str(masks.value) + str(free.value)


@pytest.mark.parametrize("model", [geometry("mobileclip2"), CONVNEXT], ids=["mobileclip2", "convnext"])
def test_mask_tokens_refuse_what_has_no_cls_token_of_clips(model):
    with pytest.raises(ValueError, match="mask tokens take the place of a CLS token.*choose ViT-L-14-336") as said:
        FISACLIP(dict(model=model), resolution=32)
    assert "\n" not in str(said.value)


def test_maft_plus_refuses_a_transformer_before_anything_is_built_on_it():
    with pytest.raises(ValueError, match="is a VisionTransformer, not a ConvNeXt; choose one such as convnext_large"):
        MAFTPlusCLIP(dict(model=clip_geometry()))


def test_guidance_comes_from_siglips_blocks(tokenizer):
    torch.manual_seed(0)
    model = HCLIPBackbone(
        clip=dict(model=geometry("siglip", tokenizer)), guidance_layers=(0, 1), guidance_channels=(16, 8)
    )
    assert [tuple(part.shape) for part in model(images())] == [(2, 16, 8, 8), (2, 8, 16, 16), (2, 48, 4, 4)]
    assert isinstance(model.image_tower, TimmTower) and model.residual == "block"
