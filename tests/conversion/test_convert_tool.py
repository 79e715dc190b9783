"""tools/convert_checkpoint.py on files."""

from __future__ import annotations

import pytest
import torch
from hclip_tools import convert_checkpoint
from mmengine.config import Config
from mmengine.logging import MessageHub
from tiny_models import randomise, tiny_segmentor


@pytest.fixture
def convert():
    return lambda *arguments: convert_checkpoint.main(list(map(str, arguments)))


def trained(path, **meta) -> dict[str, torch.Tensor]:
    """What MMEngine saves in training: weights, and its curves as objects of its own."""
    model = tiny_segmentor()
    randomise(model)
    hub = MessageHub.get_instance("convert")
    hub.update_scalar("train/loss", 1.5)
    torch.save(dict(state_dict=model.state_dict(), message_hub=hub.state_dict(), meta=meta), path)
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_training_s_checkpoint_goes_out_and_comes_back(convert, tmp_path, capsys):
    source, published, back = (tmp_path / name for name in ("iter_3.pth", "published.pth", "back.pth"))
    expected = trained(source, cfg=Config(dict(model=dict())).pretty_text)
    convert(source, published, "--to", "published")
    assert "(h-clip)" in capsys.readouterr().out
    assert "sem_seg_head.predictor.clip_model.positional_embedding" in torch.load(published)["model"]
    convert(published, back)
    found = torch.load(back)["state_dict"]
    assert found.keys() <= expected.keys() and len(found) > 50
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    assert not [name for name in expected.keys() - found.keys() if not name.startswith("data_preprocessor.")]


def test_a_file_that_is_no_checkpoint_is_named(convert, tmp_path, capsys):
    (tmp_path / "torn.pth").write_bytes(b"PK half of it")
    with pytest.raises(SystemExit):
        convert(tmp_path / "torn.pth", tmp_path / "out.pth", "--to", "published")
    assert "torn.pth" in capsys.readouterr().err and not (tmp_path / "out.pth").exists()
