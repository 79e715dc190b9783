"""CLIP weights in the forms that users have them in."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hclip_mmseg.clip import build_clip, clip_config, read_clip_weights

TINY = dict(
    embed_dim=32,
    vision_cfg=dict(image_size=32, layers=2, width=64, patch_size=8, head_width=32),
    text_cfg=dict(context_length=16, vocab_size=300, width=64, heads=2, layers=2),
)


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return {name: value.clone() for name, value in build_clip(TINY).state_dict().items()}


class Scripted(nn.Module):
    """A module that scripts, with parameters under CLIP's own names, as OpenAI's archives hold them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def openai_archive(state: dict, path) -> None:
    root = Scripted()
    for name, value in state.items():
        *parents, leaf = name.split(".")
        module = root
        for parent in parents:
            if parent not in module._modules:
                module.add_module(parent, Scripted())
            module = module._modules[parent]
        module.register_parameter(leaf, nn.Parameter(value.half()))
    for name, number in (("input_resolution", 32), ("context_length", 16), ("vocab_size", 300)):
        root.register_buffer(name, torch.tensor(number))
    torch.jit.save(torch.jit.script(root), str(path))


def assert_holds(clip, state, tolerance=0.0):
    for name, value in clip.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", ["archive", "state_dict", "training", "safetensors"])
def test_every_form_of_weights_loads(form, weights, tmp_path):
    path = tmp_path / ("clip.safetensors" if form == "safetensors" else "clip.pt")
    if form == "archive":
        openai_archive(weights, path)
    elif form == "state_dict":
        torch.save(weights, path)
    elif form == "training":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, path)
    else:
        save_file(weights, path)
    clip = build_clip(TINY, str(path))
    assert_holds(clip, weights, tolerance=1e-3 if form == "archive" else 0.0)
    assert all(parameter.dtype == torch.float32 for parameter in clip.parameters())
    uses_quick_gelu = type(clip.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    assert uses_quick_gelu == (form == "archive")


def test_quick_gelu_can_be_asked_for(weights, tmp_path):
    torch.save(weights, tmp_path / "clip.pt")
    clip = build_clip(TINY, str(tmp_path / "clip.pt"), quick_gelu=True)
    assert type(clip.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


def test_geometry_by_name_file_and_mapping(tmp_path):
    by_name = clip_config("ViT-L-14-336-quickgelu")
    assert by_name["vision_cfg"]["layers"] == 24 and by_name["quick_gelu"]
    (tmp_path / "clip.json").write_text(json.dumps({"model_cfg": TINY}))
    assert clip_config(str(tmp_path / "clip.json")) == TINY
    with pytest.raises(FileNotFoundError, match="nowhere.json"):
        clip_config("nowhere.json")
    with pytest.raises(ValueError, match="open_clip knows no model 'ViT-B-61'.*ViT-B-16"):
        clip_config("ViT-B-61")
    with pytest.raises(ValueError, match="lacks vision_cfg"):
        clip_config(dict(embed_dim=1, text_cfg={}))


def test_missing_truncated_and_foreign_weights(weights, tmp_path):
    with pytest.raises(FileNotFoundError, match="no CLIP weights at .*missing.pt"):
        build_clip(TINY, str(tmp_path / "missing.pt"))
    torch.save(weights, tmp_path / "clip.pt")
    whole = (tmp_path / "clip.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.pt .* is no file of tensors, or a damaged one"):
        read_clip_weights(tmp_path / "cut.pt")
    save_file(weights, tmp_path / "clip.safetensors")
    whole = (tmp_path / "clip.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="a damaged one"):
        read_clip_weights(tmp_path / "cut.safetensors")
    torch.save({"epoch": 1}, tmp_path / "empty.pt")
    with pytest.raises(ValueError, match="holds no tensors"):
        read_clip_weights(tmp_path / "empty.pt")


def test_weights_of_another_width_are_refused(weights, tmp_path):
    torch.save(weights, tmp_path / "clip.pt")
    wider = {**TINY, "vision_cfg": {**TINY["vision_cfg"], "width": 96}}
    with pytest.raises(ValueError, match=r"do not fit.*class_embedding is \[64\] there and \[96\] in the model"):
        build_clip(wider, str(tmp_path / "clip.pt"))
    deeper = {**TINY, "text_cfg": {**TINY["text_cfg"], "layers": 3}}
    with pytest.raises(ValueError, match="it lacks 12 tensors"):
        build_clip(deeper, str(tmp_path / "clip.pt"))


def test_unknown_tag_names_the_known_ones():
    with pytest.raises(ValueError, match="'nobody' is neither a file nor a tag.*laion2b"):
        build_clip("ViT-B-16", "nobody")


@pytest.mark.parametrize(
    ("part", "changes", "says"),
    [
        ("vision_cfg", dict(pool_type="none"), "image tower of .* has pooling by 'none'"),
        ("vision_cfg", dict(attentional_pool=True), "image tower of .* has an attention pooling of CoCa's"),
        ("vision_cfg", dict(layers=[1, 1, 1, 1]), "image tower of .* has layers of its own .ModifiedResNet."),
        ("text_cfg", dict(pool_type="first"), "text tower of .* has pooling by 'first'"),
        ("text_cfg", dict(embed_cls=True), "text tower of .* has a class token of its own"),
        ("text_cfg", dict(hf_model_name="roberta-base"), "text tower of .* is roberta-base of the Hugging Face Hub"),
    ],
    ids=["no pooling", "attention pooling", "ResNet", "first token", "class token", "Hugging Face's text"],
)
def test_towers_of_another_kind_are_refused(part, changes, says):
    with pytest.raises(ValueError, match=says) as said:
        build_clip({**TINY, part: {**TINY[part], **changes}})
    assert "\n" not in str(said.value)


def test_a_captioner_is_refused():
    with pytest.raises(ValueError, match="'coca_ViT-B-32' is a CoCa"):
        build_clip("coca_ViT-B-32")
