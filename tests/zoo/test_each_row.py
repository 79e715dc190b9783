"""Each kind of row of the zoo from its name to labels: published form, download, conversion, the model's own result."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from loopback import serving
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_maft_plus import maft_plus_config, tiny_maft_plus
from tiny_models import clip_geometry, randomise
from tiny_san import TINY_SAN
from tiny_sed import sed_config, tiny_sed

from hclip_mmseg.apis import OpenVocabInferencer
from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.apis.panoptic_inferencer import PanopticInferencer
from hclip_mmseg.clip import build_clip
from hclip_mmseg.conversion import to_published
from hclip_mmseg.zoo.metafiles import find_model
from hclip_mmseg.zoo.preparing import prepare

NAMES = "cat, grass, sky"
METAFILE = """
Collections:
- Name: Tiny
  Paper: {{Title: of none, URL: https://example.org}}
Models:
- Name: row
  In Collection: Tiny
  Config: {config}
  Metadata: {{Training Data: noise{part}}}
  Weights: {url}/row.pth
  Code: https://example.org/code
  License: MIT
"""
CONVERTED = "  Converted From: {Weights: elsewhere}\n"


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Puts a file on a server and a row for it into the zoo."""
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    (root / "model-index.yml").write_text("Import: [configs/metafile.yml]\n")
    monkeypatch.setattr("hclip_mmseg.zoo.metafiles.configs_folder", lambda: root / "configs")
    monkeypatch.setenv("HCLIP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HCLIP_OFFLINE", raising=False)
    with serving() as server:

        def row(config: Path, published: Any, converted: bool, part: str = "") -> None:
            written = io.BytesIO()
            torch.save(published, written)
            server.files["/row.pth"] = written.getvalue()
            text = METAFILE.format(config=config, url=server.url, part=part) + CONVERTED * converted
            (root / "configs/metafile.yml").write_text(text)

        yield row


MAFT_PLUS = dict(cdt=dict(type="semantic"))
FC_CLIP = dict(cdt=None, backbone=dict(frozen_stages=4), rc=None, mask_aware_loss=None)


RESIZE = dict(type="Resize", scale=(80, 64), keep_ratio=True)
STEPS = [dict(type="LoadImageFromFile"), RESIZE, dict(type="PackDetInputs")]


@pytest.mark.parametrize("changes", [MAFT_PLUS, FC_CLIP], ids=["MAFT+", "FC-CLIP"])
def test_mask_classifiers(publish, image, tmp_path, changes):
    model = tiny_maft_plus(**changes)
    randomise(model, 0.05)
    settings = dict(
        model=maft_plus_config(**changes),
        default_scope="mmdet",
        test_dataloader=dict(dataset=dict(pipeline=STEPS)),
    )
    Config(settings).dump(str(tmp_path / "row_config.py"))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "own.pth")
    publish(tmp_path / "row_config.py", to_published(dict(state_dict=model.state_dict())), converted=True)
    found, expected = (
        next(PanopticInferencer(*given, device="cpu")([image], NAMES))
        for given in (("row",), (tmp_path / "row_config.py", tmp_path / "own.pth"))
    )
    assert np.array_equal(found.labels, expected.labels)
    assert found.presence == expected.presence and len(set(expected.presence.values())) == 3
    assert [segment.title for segment in found.segments] == [segment.title for segment in expected.segments]


def test_sed(publish, image, tmp_path):
    Config(dict(model=sed_config(kept_ranks=2), default_scope="mmseg")).dump(str(tmp_path / "row_config.py"))
    model = tiny_sed()
    randomise(model, 0.05)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "own.pth")
    publish(tmp_path / "row_config.py", to_published(dict(state_dict=model.state_dict())), converted=True)
    found, expected = (
        next(OpenVocabInferencer(*given, device="cpu")([image], NAMES)).labels
        for given in (("row",), (tmp_path / "row_config.py", tmp_path / "own.pth"))
    )
    assert np.array_equal(found, expected) and len(np.unique(found)) > 1


def test_san(publish, image, repository, tmp_path):
    config = read_config(repository / "configs/san/san_vitb16_coco-stuff.py")
    config.merge_from_dict(dict(model=TINY_SAN))
    config.dump(str(tmp_path / "row_config.py"))
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    for parameter in model.parameters():  # some are left uninitialised
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "own.pth")
    publish(tmp_path / "row_config.py", dict(state_dict=model.state_dict()), converted=False)
    found, expected = (
        next(OpenVocabInferencer(*given, device="cpu")([image], NAMES)).labels
        for given in (("row",), (tmp_path / "row_config.py", tmp_path / "own.pth"))
    )
    assert np.array_equal(found, expected) and found.shape == (60, 80)


def test_generators_are_put_where_a_config_looks_for_them(publish, repository, tmp_path):
    config = repository / "configs/fisa/fisa_vitl14-336_r50_coco-panoptic.py"
    publish(config, dict(state_dict=dict(weight=torch.ones(2))), converted=False, part=", Part: generator")
    (line,) = prepare(["row"], tmp_path / "pretrained")
    assert torch.load(tmp_path / "pretrained/row.pth")["state_dict"]["weight"].tolist() == [1, 1]
    assert line == f"row: {tmp_path / 'pretrained/row.pth'}"


WITHOUT_TRAINING = (
    "cliptrase_vitb16", "clip_vitb16", "clearclip_vitb16", "maskclip_vitb16", "naclip-pamr_vitb16", "resclip_vitb16",
    "sclip_vitb16",
)  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_TRAINING)
def test_methods_without_training_on_a_clip_that_open_clip_fetches(name, image, tmp_path, monkeypatch):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-clip-of-tests", clip_geometry(image_layers=12))
    monkeypatch.setenv("HCLIP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    torch.manual_seed(0)
    clip = build_clip(clip_geometry(image_layers=12), quick_gelu=True)
    randomise(clip, 0.05)
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    with serving() as server:
        server.files["/clip.pt"] = (tmp_path / "clip.pt").read_bytes()
        tag = dict(url=f"{server.url}/clip.pt", quick_gelu=True)
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip-of-tests", {"ofserver": tag})
        inferencer = OpenVocabInferencer(f"{name}@tiny-clip-of-tests/ofserver", device="cpu")
        found = next(inferencer([image], NAMES, "a {}.")).labels
        assert len(server.gets()) == 1
    config = read_config(find_model(name).config)
    config.model.backbone.clip = dict(
        model=clip_geometry(image_layers=12), pretrained=str(tmp_path / "clip.pt"), quick_gelu=True
    )
    expected = next(OpenVocabInferencer(config, device="cpu")([image], NAMES, "a {}.")).labels
    assert np.array_equal(found, expected) and len(np.unique(found)) > 1
