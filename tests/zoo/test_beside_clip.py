"""Methods without training: DINO by timm's name, and CLIPs that they cannot work on, refused before any download."""

from __future__ import annotations

import open_clip
import pytest
import timm
import torch
from loopback import serving
from other_towers import geometry
from safetensors.torch import load_file, save
from timm.models import PretrainedCfg, register_model
from timm.models.vision_transformer import VisionTransformer
from training_free.tiny_sam import write_tiny_sam

from hclip_mmseg.apis import OpenVocabInferencer, opening
from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.files.paths import configs_folder
from hclip_mmseg.training_free import TimmPatchFeatures, TrainingFreeBackbone
from hclip_mmseg.training_free.segment_anything import read_sam
from hclip_mmseg.zoo import beside_clip, sam_weights, timm_weights
from hclip_mmseg.zoo.choice import check_clip, choose
from hclip_mmseg.zoo.preparing import prepare

DINO = "dino_of_zoo_tests"
HUB_PATH = "/timm/dino_of_zoo_tests.tiny/resolve/main/model.safetensors"
BESIDE_CLIP = ("proxyclip_vitb16", "corrclip_vitb16", "lposs_vitb16", "cliptrase-dinov2_vitb16_224")


@register_model
def dino_of_zoo_tests(pretrained: bool = False, **kwargs) -> VisionTransformer:
    """As timm's vit_base_patch16_224.dino."""
    return timm.models.build_model_with_cfg(
        VisionTransformer, DINO, pretrained, img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, **kwargs
    )


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that has the weights of the tests' DINO, and says which requests came."""
    settings = PretrainedCfg(hf_hub_id=f"timm/{DINO}.tiny")
    monkeypatch.setattr(timm_weights, "get_pretrained_cfg", lambda model: settings)
    monkeypatch.setenv("HCLIP_HOME", str(tmp_path / "home"))
    for name in ("HF_HUB_OFFLINE", "HCLIP_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    torch.manual_seed(0)
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.files[HUB_PATH] = save(timm.create_model(DINO, num_classes=0).state_dict())
        yield server


def test_timms_weights_are_fetched_once_by_name_and_serve_offline(hub, tmp_path):
    place = tmp_path / "home/timm/dino_of_zoo_tests.tiny.safetensors"
    with pytest.raises(ValueError, match="not to be used. Get https://huggingface.co/timm/dino_of.*put it at") as said:
        timm_weights.timm_file(DINO, offline=True)
    assert "\n" not in str(said.value) and str(place) in str(said.value) and not hub.asked
    config = dict(parts=[dict(type="TimmPatchFeatures", model=DINO), dict(type="Other", model=DINO)])
    beside_clip.fill_weights(config, by_name=False)
    assert config["parts"][0]["weights"] == str(place) and "weights" not in config["parts"][1]
    assert timm_weights.timm_file(DINO, offline=True) == place and hub.gets() == [None]
    features = TimmPatchFeatures(DINO, str(place))
    assert torch.equal(features.vit.cls_token, load_file(place)["cls_token"])


def test_no_network_ends_in_one_line(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=f"weights of {DINO} are not here and cannot be fetched.*put it at") as said:
        timm_weights.timm_file(DINO)
    assert "\n" not in str(said.value)


def test_a_file_that_is_given_is_taken_as_it_is(hub, tmp_path):
    (tmp_path / "own.pth").touch()
    config = dict(features=dict(type="TimmPatchFeatures", model=DINO, weights=str(tmp_path / "own.pth")))
    beside_clip.fill_weights(config, by_name=True)
    assert config["features"]["weights"] == str(tmp_path / "own.pth") and not hub.asked
    config["features"]["weights"] = str(tmp_path / "mistyped.pth")
    beside_clip.fill_weights(config, by_name=False)  # of a config of one's own: said when the model is built
    assert config["features"]["weights"] == str(tmp_path / "mistyped.pth")


def test_models_that_timm_has_no_weights_of():
    with pytest.raises(ValueError, match="timm knows no model 'dinov9'"):
        timm_weights.timm_file("dinov9")
    with pytest.raises(ValueError, match="timm publishes no weights of vit_base_patch16_18x2_224"):
        timm_weights.timm_file("vit_base_patch16_18x2_224")


@pytest.mark.parametrize("name", BESIDE_CLIP)
def test_models_by_name_and_downloads_bring_dino(name, monkeypatch, tmp_path):
    monkeypatch.setattr("hclip_mmseg.zoo.choice.clip_file", lambda *_: tmp_path / "clip.pt")
    monkeypatch.setattr("hclip_mmseg.zoo.preparing.clip_file", lambda *_: tmp_path / "clip.pt")
    asked = []
    monkeypatch.setattr(beside_clip, "timm_file", lambda *given: asked.append(given) or tmp_path / "dino.safetensors")
    config = opening.open_model(name, offline=True).config
    filled = list(beside_clip.entries(config.model))
    assert filled and all(entry["weights"] == str(tmp_path / "dino.safetensors") for entry in filled)
    assert set(asked) == {(entry["model"], True) for entry in filled}
    assert f"{name}: {tmp_path / 'dino.safetensors'}" in list(prepare([name], offline=True))


SAM_FILE = "sam_vit_b_01ec64.pth"


@pytest.fixture
def sam_server(hub, tmp_path, monkeypatch):
    """A server that has a small SAM under the published name, beside the tests' DINO; CLIP's file is given."""
    monkeypatch.setattr(sam_weights, "ADDRESS", f"{hub.url}/segment_anything/")
    hub.files[f"/segment_anything/{SAM_FILE}"] = write_tiny_sam(tmp_path / "sam.pth").read_bytes()
    for module in ("choice", "preparing"):
        monkeypatch.setattr(f"hclip_mmseg.zoo.{module}.clip_file", lambda *_: tmp_path / "clip.pt")
    return hub


@pytest.mark.parametrize(("name", "parts"), [("trident_vitb16", 1), ("trident-prompts_vitb16", 2)])
def test_tridents_sam_is_fetched_once_by_name_and_serves_offline(sam_server, tmp_path, name, parts):
    place = tmp_path / "home/sam" / SAM_FILE
    told = list(prepare([name]))
    assert told[:2] == [f"{name}: {tmp_path / 'home/timm' / DINO}.tiny.safetensors", f"{name}: {place}"]
    assert sam_server.gets() == [None, None]  # DINO and SAM
    config = opening.open_model(name, offline=True).config
    found = [entry["weights"] for entry in beside_clip.entries(config.model) if entry["type"] in beside_clip.SAM]
    assert found == [str(place)] * parts and len(sam_server.gets()) == 2
    assert read_sam(found[0]).patch > 0
    (tmp_path / "clip.pt").touch()
    copies = [tmp_path / "carried" / file for file in (f"{DINO}.tiny.safetensors", SAM_FILE, "clip.pt")]
    assert list(prepare([name], tmp_path / "carried")) == [f"{name}: {copy}" for copy in copies]
    assert copies[1].read_bytes() == place.read_bytes() and all(copy.is_file() for copy in copies)


def test_copies_of_files_that_the_hub_calls_alike_lie_beside_each_other(monkeypatch, tmp_path):
    kept = tmp_path / "hub/models--laion--CLIP-ViT-B-16/snapshots/1234/open_clip_model.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    monkeypatch.setattr("hclip_mmseg.zoo.preparing.clip_file", lambda *_: kept)
    fetched = []
    monkeypatch.setattr("hclip_mmseg.clip.HubTokenizer.fetch", lambda self, offline: fetched.append(self.name))
    name = "sclip_vitb16@ViT-H-14-worldwide/metaclip2_worldwide"
    tokenizer, told = prepare([name], tmp_path / "carried", offline=True)
    assert fetched == ["facebook/xlm-v-base"] and "facebook/xlm-v-base" in tokenizer
    copy = tmp_path / "carried/CLIP-ViT-B-16_open_clip_model.safetensors"
    assert told.endswith(str(copy)) and copy.read_bytes() == b"weights"


def test_weights_of_timm_lie_in_a_home_of_ones_own(hub, tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(timm_weights, "try_to_load_from_cache", lambda *_, cache_dir, **__: looked.append(cache_dir))
    timm_weights.timm_file(DINO)
    assert looked == [tmp_path / "home/hub"]  # so that the folder can be carried to another machine


def test_sam_that_is_not_here_says_where_to_get_it_and_where_to_put_it(sam_server, tmp_path, monkeypatch):
    place = tmp_path / "home/sam" / SAM_FILE
    with pytest.raises(ValueError, match=f"sam_vit_b_01ec64 are not here.*Get .*/segment_anything/{SAM_FILE}") as said:
        sam_weights.sam_file(SAM_FILE, offline=True)
    assert f"put it at {place}" in str(said.value) and "\n" not in str(said.value) and not sam_server.asked
    place.parent.mkdir(parents=True)
    place.write_bytes((tmp_path / "sam.pth").read_bytes())  # by hand
    assert sam_weights.sam_file(SAM_FILE, offline=True) == place and not sam_server.asked
    with pytest.raises(ValueError, match="SAM's authors publish no file 'sam.pth'; they publish sam_vit_b"):
        sam_weights.sam_file("sam.pth")


def test_a_sam_of_ones_own_is_left_as_it_is(sam_server, tmp_path):
    entry = dict(type="SAMPrompts", weights=str(tmp_path / "own_sam.pth"))
    beside_clip.fill_weights(dict(refinement=entry), by_name=True)  # said when the model is built
    assert entry["weights"] == str(tmp_path / "own_sam.pth") and not sam_server.asked
    with pytest.raises(FileNotFoundError, match="no weights of SAM: looked for at .*own_sam.pth.*--model"):
        read_sam(entry["weights"])


@pytest.fixture(params=["siglip", "eva02", "clipa"])
def other_clip(request, monkeypatch):
    """A name of open_clip's for a small CLIP whose image tower is another kind than CLIP's, and its tag."""
    name = f"tiny-{request.param}"
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, geometry(request.param))
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, {"tag": dict(url="http://127.0.0.1:9/clip.pt")})
    return name


def test_methods_refuse_other_towers_before_anything_is_fetched(other_clip):
    for name in ("cliptrase_vitb16", "sclip_vitb16", "proxyclip_vitb16"):
        with pytest.raises(ValueError, match=f"'{other_clip}' has not in CLIP's form; choose .*ViT-B-16") as said:
            choose(f"{name}@{other_clip}/tag")
        assert "\n" not in str(said.value)
    with pytest.raises(ValueError, match="has not in CLIP's form; choose"):
        TrainingFreeBackbone(dict(model=other_clip))


@pytest.mark.parametrize("base", ["cliptrase_vitb16_224", "cliptrase_vitb16_336", "training_free_vitb16"])
def test_all_methods_stand_on_the_backbone_that_refuses_them(base):
    assert read_config(configs_folder() / f"_base_/models/{base}.py").model.backbone.type == "TrainingFreeBackbone"


@pytest.mark.parametrize("model", ["RN50", "convnext_tiny"])
def test_networks_that_are_no_transformers_are_refused_too(model):
    with pytest.raises(ValueError, match=f"'{model}' has not in CLIP's form; choose one such as ViT-B-16"):
        check_clip(model)


def test_inferencer_and_command_say_the_same(other_clip, run_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").touch()
    asked = f"sclip_vitb16@{other_clip}/tag"
    with pytest.raises(ValueError, match="has not in CLIP's form; choose"):
        OpenVocabInferencer(asked, device="cpu")
    code, _, errors = run_here("predict", "photo.png", "--vocab", "cat", "--model", asked)
    assert code == 2 and "choose one such as ViT-B-16" in errors and errors.strip().count("\n") == 0, errors
