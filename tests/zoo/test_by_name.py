"""A name in the place of config and checkpoint: fetched, converted, and asked; the labels are the model's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from hclip_mmseg.apis import OpenVocabInferencer, opening
from hclip_mmseg.apis.inferencer import build_model
from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.apis.train import choose_start, read_start
from hclip_mmseg.zoo import clip_weights, find_model
from hclip_mmseg.zoo.choice import choose, is_name
from hclip_mmseg.zoo.preparing import prepare

NAMES = ["cat", "grass", "sky"]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def labels_of(model, image):
    inferencer = OpenVocabInferencer(*model, device="cpu")
    (result,) = inferencer([image], NAMES)
    return result.labels


def test_a_name_gives_the_labels_of_the_model_itself(zoo, image, tmp_path, monkeypatch):
    torch.save(dict(state_dict=zoo.model.state_dict()), tmp_path / "own.pth")
    expected = labels_of((zoo.config, tmp_path / "own.pth"), image)
    assert len(np.unique(expected)) > 1
    assert np.array_equal(labels_of(("tiny",), image), expected)
    assert len(zoo.server.gets()) == 1
    converted = list((zoo.home / "tiny_of_the_hub").glob("converted*.pth"))
    assert len(converted) == 1
    monkeypatch.setenv("HCLIP_OFFLINE", "1")
    monkeypatch.setattr("hclip_mmseg.zoo.converted.convert_checkpoint", None)  # it is kept
    asked = len(zoo.server.asked)
    assert np.array_equal(labels_of(("tiny",), image), expected) and len(zoo.server.asked) == asked
    own = build_model("tiny", tmp_path / "own.pth")  # one's own weights beside a name
    assert all(torch.equal(own.state_dict()[key], value) for key, value in zoo.model.state_dict().items())


def test_a_file_that_is_replaced_is_converted_anew(zoo, image):
    from hclip_mmseg.zoo.converted import checkpoint_of

    first = checkpoint_of(zoo.find("tiny"))
    place = zoo.home / "tiny_of_the_hub/tiny.pth"
    place.with_name("tiny.pth.json").unlink()
    import io

    from hclip_mmseg.conversion import to_published

    state = {name: value + 1 if value.is_floating_point() else value for name, value in zoo.model.state_dict().items()}
    written = io.BytesIO()
    torch.save(to_published(dict(state_dict=state)), written)
    place.write_bytes(written.getvalue())
    assert checkpoint_of(zoo.find("tiny")) != first


def test_commands_take_a_name(zoo, run_here, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(image).save("photo.png")
    asked = ("predict", "photo.png", "--vocab", "cat, grass, sky", "--model", "tiny", "--device", "cpu")
    code, _, errors = run_here(*asked, "--offline")
    assert code == 2 and "put it at" in errors and errors.strip().count("\n") == 0, errors
    code, out, errors = run_here(*asked)
    assert code == 0 and "1 of 1 images done" in out, errors
    assert np.array_equal(
        np.asarray(Image.open("predictions/photo_labels.png")), labels_of(("tiny",), image[..., ::-1])
    )
    code, out, errors = run_here("convert_checkpoint", "tiny", "ours.pth", "--offline")
    assert code == 0 and "(cat-seg)" in out, errors
    code, out, errors = run_here("download", "tiny", "--check", "--offline", "--to", "here")
    assert code == 0 and (tmp_path / "here/tiny.pth").read_bytes() == zoo.content, errors
    code, out, errors = run_here("test", "tiny", "--work-dir", "tested", "--offline")
    assert code == 0 and "mIoU" in out + errors, errors
    code, out, errors = run_here("models", "tiny")
    assert code == 0 and "published, here" in out and "published, not here" in out, errors
    code, _, errors = run_here("predict", "photo.png", "--vocab", "cat", "--model", "untrained")
    assert code == 2 and "nobody publishes weights of untrained" in errors and "hclip-train" in errors
    code, _, errors = run_here("download", "nobody", "tiny")
    assert code == 2 and "no model is called 'nobody'" in errors


def test_a_file_that_changed_is_noticed_by_its_checksum(zoo):
    list(prepare(["tiny"]))
    place = zoo.home / "tiny_of_the_hub/tiny.pth"
    changed = bytearray(place.read_bytes())
    changed[len(changed) // 2] ^= 1
    place.write_bytes(changed)
    with pytest.raises(ValueError, match="has changed since it came"):
        list(prepare(["tiny"], check=True))


def test_embedded_models_need_nothing(repository, image):
    assert list(prepare(["hclip_tiny_scenes"], offline=True)) == [
        "hclip_tiny_scenes needs nothing: its weights are part of the package"
    ]
    for name in ("cliptrase_tiny_scenes", "hclip_tiny_scenes"):
        path = repository / find_model(name).config
        assert np.array_equal(labels_of((name,), image), labels_of((path,), image))


def test_training_starts_from_a_name(zoo, tmp_path):
    cfg = Config(dict(load_from="tiny"))
    start = read_start(cfg, choose_start(cfg, None))
    trained = {name: value for name, value in zoo.model.named_parameters() if value.requires_grad}
    assert any("adapter" in name for name in trained) and any("decode_head" in name for name in trained)
    assert all(torch.equal(start.state[name], value) for name, value in trained.items())
    wrong = {"untrained": "nobody publishes", "tinny": "did you mean 'tiny", "tinny.pth": "looked for at"}
    for name, said in wrong.items():
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            choose_start(Config(dict(load_from=name)), None)


def test_a_generator_is_no_model_to_ask():
    with pytest.raises(ValueError, match="generator of configs/fisa/.*--to pretrained"):
        choose("mask2former_swin-b").checkpoint()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("cat-seg_vitl14", True), ("a@ViT-L-14/openai", True), ("own.py", False), ("configs/own", False), (None, False)],
)
def test_what_is_taken_for_a_name(text, expected):
    assert is_name(text) == expected


# ---- another CLIP


@pytest.fixture
def clip_is_here(monkeypatch, tmp_path):
    """open_clip's download gives a file that names what was asked for."""
    monkeypatch.setenv("HCLIP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    asked = []

    def download(tag, cache_dir):
        asked.append((tag, cache_dir))
        return str(tmp_path / "clip.safetensors")

    monkeypatch.setattr(clip_weights, "download_pretrained", download)
    return asked, tmp_path


def test_a_model_without_training_fetches_openais_clip_by_open_clip(clip_is_here):
    asked, folder = clip_is_here
    config, checkpoint, _ = opening.open_model("cliptrase_vitb16")
    assert checkpoint is None and config.model.backbone.clip.pretrained == str(folder / "clip.safetensors")
    assert config.model.backbone.clip.model == "ViT-B-16-quickgelu"
    ((tag, cache),) = asked
    assert tag["url"].endswith("/ViT-B-16.pt") and cache == str(folder / "home/clip")


def test_any_clip_of_open_clip_takes_the_place_of_the_configs(clip_is_here):
    _, folder = clip_is_here
    config = opening.open_model("sclip_vitb16@ViT-L-14/openai").config
    assert config.model.backbone.clip == dict(
        model="ViT-L-14", quick_gelu=True, pretrained=str(folder / "clip.safetensors")
    )
    config = opening.open_model("sclip_vitb16@ViT-B-16/laion2b_s34b_b88k").config
    assert "quick_gelu" not in config.model.backbone.clip
    assert isinstance(config, Config) and config.model.type == read_config(find_model("sclip_vitb16").config).model.type
    with pytest.raises(ValueError, match="no weights 'nobodys' of 'ViT-B-16'.*openai"):
        choose("sclip_vitb16@ViT-B-16/nobodys")
    with pytest.raises(ValueError, match="trained on its own CLIP"):
        choose("cat-seg_vitl14@ViT-B-16/openai")
    with pytest.raises(ValueError, match="model and tag, such as"):
        choose("sclip_vitb16@openai")


def test_clip_that_was_put_there_is_found_and_offline_says_where(clip_is_here):
    asked, folder = clip_is_here
    place = folder / "home/clip/ViT-B-16.pt"
    with pytest.raises(ValueError, match="Get https://.*/ViT-B-16.pt on a machine") as said:
        opening.open_model("cliptrase_vitb16", offline=True)
    assert f"put it at {place}" in str(said.value) and "\n" not in str(said.value)
    place.parent.mkdir(parents=True)
    place.touch()
    config = opening.open_model("cliptrase_vitb16", offline=True).config
    assert config.model.backbone.clip.pretrained == str(place) and not asked
