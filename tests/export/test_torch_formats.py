"""Models as torch's own files: exported programs and TorchScript."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_segmentor
from training_free.tiny_training_free import tiny_training_free

from hclip_mmseg.export.description import KEY, Description
from hclip_mmseg.export.writing import write_model

NAMES = ("cat", "red star", "grass")


@pytest.fixture(params=["segmentor", "training-free"])
def model(request):
    return tiny_segmentor(names=NAMES) if request.param == "segmentor" else tiny_training_free(attention="sclip")


@torch.no_grad()
def test_an_exported_program_is_loaded_by_torch_alone(model, tmp_path):
    write_model(model, tmp_path / "model.pt2", "pt2", dynamic=True)
    extra = {KEY: ""}
    loaded = torch.export.load(str(tmp_path / "model.pt2"), extra_files=extra).module()
    assert Description.of_text(extra[KEY], "model.pt2").vocabulary == model.vocabulary
    images = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(loaded(images)[0], model.image_pass()(images)[0], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_torch_script(model, tmp_path):
    lines = write_model(model, tmp_path / "model.pt", "torchscript")
    assert "64 x 64 pixels" in lines[0]
    extra = {KEY: ""}
    loaded = torch.jit.load(str(tmp_path / "model.pt"), _extra_files=extra)
    assert Description.of_text(extra[KEY], "model.pt").size == (64, 64)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(loaded(images)[0], model.image_pass()(images)[0], rtol=1e-5, atol=1e-5)
