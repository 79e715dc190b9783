"""Examples in the tutorials do what the text beside them says."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from miniature import REPOSITORY
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from PIL import Image

TINY_CLIP = dict(
    model=str(REPOSITORY / "hclip_mmseg/demo_assets/tiny_clip.json"),
    pretrained=str(REPOSITORY / "hclip_mmseg/demo_assets/tiny_clip.pt"),
)


def example(page: str, holding: str) -> str:
    """The only Python example of a page that holds a text."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    (found,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if holding in block]
    return found


@pytest.fixture
def park(tmp_path, monkeypatch):
    """The data that the example of fine_tune.md names, two images in each part."""
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        for folder in ("images", "labels"):
            (tmp_path / "data/park" / folder / part).mkdir(parents=True)
        for index in range(2):
            image = np.full((48, 64, 3), 60 * index, np.uint8)
            Image.fromarray(image).save(tmp_path / f"data/park/images/{part}/{index}.jpg")
            Image.fromarray(image[..., 0] // 60 + 1).save(tmp_path / f"data/park/labels/{part}/{index}.png")
    return tmp_path


def test_own_data(park):
    (park / "park.py").write_text(example("tutorials/fine_tune.md", "data/park"))
    config = Config.fromfile(park / "park.py")
    assert config.train_dataloader.batch_size == 4 and config.model.backbone.type == "HCLIPBackbone"
    for loader, part in ((config.train_dataloader, "train"), (config.test_dataloader, "val")):
        data = DATASETS.build(loader.dataset)
        assert len(data) == 2 and data.metainfo["classes"] == ("cat", "grass", "traffic light")
        assert f"images/{part}/" in data.get_data_info(0)["img_path"]
        labels = [sample["data_samples"].gt_sem_seg.data.unique().tolist() for sample in data]
        assert labels == [[1], [2]]


def test_backbone_under_another_head(tmp_path):
    (tmp_path / "own.py").write_text(example("tutorials/extend.md", "EncoderDecoder"))
    model = Config.fromfile(tmp_path / "own.py").model
    model.backbone.clip = TINY_CLIP
    model.backbone.adapter.block_size = 32
    model.decode_head.in_channels = 128
    segmentor = MODELS.build(model).eval()
    with torch.no_grad():
        logits = segmentor.encode_decode(torch.randn(1, 3, 192, 192), [dict(img_shape=(192, 192))])
    assert logits.shape == (1, 19, 192, 192)


def test_adapters_without_mmsegmentation():
    names: dict = {}
    exec(example("tutorials/extend.md", "t_product"), names)
    rotation = names["rotation"]
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(128).expand(4, -1, -1), atol=1e-5, rtol=0)
    assert names["product"].shape == (2, 4, 5) and names["energy"] > 0
