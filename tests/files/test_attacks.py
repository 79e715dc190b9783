"""Nothing read from a file is executed: entry points x payloads, and the marker file never appears."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint  # whose functions hclip_mmseg replaces
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS
from payloads import PAYLOADS, Touch, bare_pickle, by_eval
from torch import nn

from hclip_mmseg.apis.inferencer import build_model
from hclip_mmseg.apis.train import read_start
from hclip_mmseg.clip import read_clip_weights as read_clip
from hclip_mmseg.datasets.preparation.ade20k_index import read_index
from hclip_mmseg.datasets.preparation.tables import read_matlab
from hclip_mmseg.files import checkpoints
from hclip_mmseg.files.paths import PROJECT_ROOT
from hclip_mmseg.models.backbones.pretrained_backbone import PretrainedBackbone
from hclip_mmseg.training_free import TimmPatchFeatures
from hclip_mmseg.training_free.sam_masks import read_masks

CONTENT = {"state_dict": {"weight": torch.ones(1, 1), "bias": torch.ones(1)}}


@pytest.fixture
def model():
    return nn.Linear(1, 1)


def from_url(path, model, config, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, target, **_: path.rename(target))
    mmengine_checkpoint.load_from_http(f"http://host.invalid/{path.name}", model_dir=str(path.parent / "downloads"))


ENTRY_POINTS = {
    "load": lambda path, *_: checkpoints.load(path),
    "read_state_dict: test, predict, fold, count": lambda path, *_: checkpoints.read_state_dict(path),
    "read_start: train --resume": lambda path, *_: read_start(Config(dict(resume=True)), str(path)),
    "clip.pretrained": lambda path, *_: read_clip(path),
    "MMEngine's loader: Runner, init_cfg": lambda path, *_: CheckpointLoader.load_checkpoint(str(path)),
    "MMEngine's loader from open files: s3": lambda path, *_: open_file(path),
    "MMEngine's load_checkpoint": lambda path, model, *_: load_checkpoint(model, str(path)),
    "MMEngine's loader of a URL": from_url,
    "PretrainedBackbone": lambda path, model, *_: PretrainedBackbone(str(path))(model),
    "TimmPatchFeatures": lambda path, *_: TimmPatchFeatures("vit_tiny_patch16_224", str(path)),
    "build_model: predict, visualize": lambda path, model, config, *_: build_model(config, path),
    "MMSegmentation's init_model": lambda path, model, config, *_: init_model(config, str(path), device="cpu"),
}


def open_file(path):
    with path.open("rb") as file:
        mmengine_checkpoint._safe_torch_load(file)


@pytest.fixture(scope="module")
def config(tiny_config):
    return Config.fromfile(tiny_config)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Detected pickle protocol")
@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.__name__)
@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_no_payload_is_executed(entry_point, payload, model, config, tmp_path, monkeypatch):
    path, marker = tmp_path / "evil.pth", tmp_path / "marker"
    payload(path, CONTENT, marker)
    with pytest.raises(ValueError, match="is not read|no file of tensors") as error:
        ENTRY_POINTS[entry_point](path, model, config, monkeypatch)
    assert not marker.exists()
    assert "\n" not in str(error.value) and "weights_only" not in str(error.value)


@pytest.mark.parametrize("payload", [*PAYLOADS[:5], by_eval], ids=lambda payload: payload.__name__)
def test_the_payloads_are_real(payload, tmp_path):
    payload(tmp_path / "evil.pth", CONTENT, tmp_path / "marker")
    if payload is bare_pickle:
        pickle.loads((tmp_path / "evil.pth").read_bytes())
    else:
        torch.load(tmp_path / "evil.pth", weights_only=False)
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", ["npy", "npz in npy"])
def test_masks_of_objects_are_refused(kind, tmp_path):
    objects, marker = np.array([Touch(tmp_path / "marker")], dtype=object), tmp_path / "marker"
    with (tmp_path / "masks.npy").open("wb") as file:
        np.save(file, objects, allow_pickle=True) if kind == "npy" else np.savez(file, masks=objects)
    with pytest.raises(ValueError, match="holds no masks"):
        read_masks(tmp_path / "masks.npy")
    assert not marker.exists()


@pytest.mark.parametrize("size", [[2**31, 2**31], [-1, -1], [1], [2**62, 4], "44", [4.0, 4], [True, 4]])
def test_masks_of_absurd_size_are_refused_before_they_are_decoded(size, tmp_path):
    (tmp_path / "masks.json").write_text(json.dumps([dict(segmentation=dict(size=size, counts="PPYo0"))]))
    with pytest.raises(ValueError, match="no image is of size"):
        read_masks(tmp_path / "masks.json")


def test_the_index_and_label_maps_are_no_way_in_either(tmp_path):
    file, marker = tmp_path / "index_ade20k.pkl", tmp_path / "marker"
    file.write_bytes(pickle.dumps({"filename": Touch(marker)}))
    with pytest.raises(ValueError, match="is not read"):
        read_index(file)
    with pytest.raises(ValueError, match="none of MATLAB's files"):
        read_matlab(file, ("LabelMap",))
    assert not marker.exists()


@pytest.mark.parametrize("payload", PAYLOADS[:2], ids=lambda payload: payload.__name__)
def test_what_others_allow_in_the_process_does_not_count(payload, tmp_path):
    path, marker = tmp_path / "evil.pth", tmp_path / "marker"
    payload(path, CONTENT, marker)
    with torch.serialization.safe_globals([getattr, eval, type(marker).touch]):
        before = set(torch.serialization.get_safe_globals())
        with pytest.raises(ValueError, match="is not read"):
            checkpoints.load(path)
        assert set(torch.serialization.get_safe_globals()) == before
    assert not marker.exists()


def test_init_model_takes_a_good_checkpoint(config, tmp_path):
    init_default_scope("mmseg")
    state = MODELS.build(config.model).state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=["a"]))), tmp_path / "good.pth")
    made = init_model(config, str(tmp_path / "good.pth"), device="cpu")
    assert all(torch.equal(value, state[name]) for name, value in made.state_dict().items())


def test_original_mmengine_is_served_too(tmp_path):
    """The module of MMEngine 0.10.7 has no `_safe_torch_load`; its loaders by other schemes call `load_from_http`."""
    from types import ModuleType

    from mmengine.runner import checkpoint

    from hclip_mmseg.compat import read_checkpoints_with

    class Loader(checkpoint.CheckpointLoader):
        _schemes = {
            "": print,
            "http://": print,
            "https://": print,
            "torchvision://": lambda name: original.load_from_http,
        }

    original = ModuleType("checkpoint")
    original.CheckpointLoader, original.load_from_local, original.load_from_http = Loader, print, print
    read_checkpoints_with(checkpoints.load, original)
    torch.save(CONTENT, tmp_path / "good.pth")
    assert Loader.load_checkpoint(str(tmp_path / "good.pth"), logger="silent").keys() == CONTENT.keys()
    assert Loader._schemes["torchvision://"]("") is Loader._schemes["http://"] is original.load_from_http is not print
    for payload in PAYLOADS[:4]:
        payload(tmp_path / "evil.pth", CONTENT, tmp_path / "marker")
        with pytest.raises(ValueError, match="is not read"):
            Loader.load_checkpoint(str(tmp_path / "evil.pth"), logger="silent")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["hclip/hclip_tiny_scenes", "cliptrase/cliptrase_tiny_scenes"])
def test_mmsegmentations_own_inference_takes_our_configs(name):
    made = Config.fromfile(PROJECT_ROOT / f"configs/{name}.py")
    made.model.backbone.clip.pretrained = str(PROJECT_ROOT / made.model.backbone.clip.pretrained)
    model = init_model(made, device="cpu")
    model.dataset_meta = dict(classes=("red circle", "sky"))  # as init_model does with a checkpoint's
    assert model.vocabulary == ("red circle", "sky")
    found = inference_model(model, np.zeros((64, 64, 3), np.uint8))
    assert found.pred_sem_seg.data.shape == (1, 64, 64)
    model.set_vocabulary(["cat"])
    model.dataset_meta = dict(classes=("red circle", "sky"))
    assert model.vocabulary == ("cat",)
