"""A zoo of one tiny CAT-Seg in its published form, on a server of the tests' own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from loopback import Server, serving
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_models import randomise

from hclip_mmseg.conversion import to_published
from hclip_mmseg.zoo import ZooModel, find_model, read_zoo

METAFILE = """
Collections:
- Name: CAT-Seg
  Paper: {{Title: of none, URL: https://example.org}}
Models:
- Name: tiny_of_the_hub
  Alias: [tiny]
  In Collection: CAT-Seg
  Config: {config}
  Metadata: {{Training Data: noise}}
  Weights: https://huggingface.co/spaces/owner/weights/resolve/main/tiny.pth
  Code: https://example.org/code
  License: MIT
  Converted From: {{Weights: of the Hub}}
- Name: tiny_of_a_server
  In Collection: CAT-Seg
  Config: {config}
  Metadata: {{Training Data: noise}}
  Weights: {url}/files/tiny.pth
  Code: https://example.org/code
  License: MIT
  Converted From: {{Weights: of a server}}
- Name: tiny_of_drive
  In Collection: CAT-Seg
  Config: {config}
  Metadata: {{Training Data: noise}}
  Weights: https://drive.google.com/uc?id=abc-123_x
  File: tiny_drive.pth
  Code: https://example.org/code
  License: MIT
  Converted From: {{Weights: of Drive}}
- Name: untrained
  In Collection: CAT-Seg
  Config: {config}
  Metadata: {{Training Data: noise}}
"""
HUB_PATH, PATH = "/spaces/owner/weights/resolve/main/tiny.pth", "/files/tiny.pth"


class Zoo(NamedTuple):
    """What the tests' zoo is made of.

    Attributes:
        index: its model-index.yml.
        server: that gives the weights.
        home: the folder for weights, empty.
        config: of the model.
        model: as it was published.
        content: the published file.
    """

    index: Path
    server: Server
    home: Path
    config: Path
    model: torch.nn.Module
    content: bytes

    def find(self, name: str) -> ZooModel:
        return find_model(name, read_zoo(self.index))


@pytest.fixture(scope="session")
def published_tiny(tiny_config, tmp_path_factory) -> tuple[Path, torch.nn.Module, bytes]:
    config = tmp_path_factory.mktemp("zoo") / "tiny_cat-seg.py"
    config.write_text(
        f"_base_ = [{str(tiny_config)!r}]\n"
        "model = dict(backbone=dict(adapter=dict(_delete_=True, type='TrainedProjections', projections=('q', 'v'))))\n"
    )
    init_default_scope("mmseg")
    torch.manual_seed(1)
    model = MODELS.build(Config.fromfile(config).model).eval()
    randomise(model)
    written = io.BytesIO()
    torch.save(to_published(dict(state_dict=model.state_dict())), written)
    return config, model, written.getvalue()


@pytest.fixture
def zoo(published_tiny, tmp_path, monkeypatch):
    config, model, content = published_tiny
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    (root / "model-index.yml").write_text("Import: [configs/metafile.yml]\n")
    with serving() as server:
        server.files = {HUB_PATH: content, PATH: content}
        (root / "configs/metafile.yml").write_text(METAFILE.format(config=config, url=server.url))
        monkeypatch.setattr("hclip_mmseg.zoo.metafiles.configs_folder", lambda: root / "configs")
        monkeypatch.setenv("HCLIP_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        for name in ("HF_HUB_OFFLINE", "HCLIP_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield Zoo(root / "model-index.yml", server, tmp_path / "home", config, model, content)
