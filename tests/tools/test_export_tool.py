"""tools/export.py, and tools/predict.py with what it wrote."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f'{package} is not installed: pip install "hclip-mmseg[export]"')


@pytest.fixture
def checkpoint(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(tiny_config).model).state_dict()), "tiny.pth")
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(image).save("image.png")
    return "tiny.pth"


def test_an_exported_model_predicts_what_the_model_predicts(tiny_config, checkpoint, run_here):
    code, out, errors = run_here(
        "export", tiny_config, checkpoint, "--vocab", "cat, grass", "--out", "new/a.onnx", "--dynamic"
    )
    assert code == 0, errors
    assert "new/a.onnx: 2 class names, any number of images of 64 x 64 pixels" in out and "scores differ by" in out
    code, out, errors = run_here("predict", "image.png", "--onnx", "new/a.onnx", "--out-dir", "exported")
    assert code == 0 and "1 of 1 images done, results in exported" in out, errors
    assert run_here(
        "predict", "image.png", "--vocab", "cat, grass", "--config", tiny_config, "--checkpoint", checkpoint,
        "--device", "cpu", "--out-dir", "model",
    )[0] == 0  # fmt: skip
    for kind in ("labels", "overlay"):
        written = [np.asarray(Image.open(f"{folder}/image_{kind}.png")) for folder in ("exported", "model")]
        assert (written[0] == written[1]).mean() > 0.999


def test_errors_are_one_line(tiny_config, checkpoint, run_here):
    code, _, errors = run_here("predict", "image.png", "--onnx", "image.png")
    assert code == 2 and errors.strip().splitlines()[-1].startswith("error: image.png is no ONNX model")
    code, _, errors = run_here("predict", "image.png", "--onnx", "none.onnx")
    assert code == 2 and "error: no exported model at" in errors
    code, _, errors = run_here("predict", "image.png", "--onnx", "none.onnx", "--vocab", "cat")
    assert code == 2 and "not allowed with argument" in errors
    for option in (
        ("--threshold", "0.5"),
        ("--background", "sky"),
        ("--other",),
        ("--templates", "a {}"),
        ("--panoptic",),
    ):
        code, _, errors = run_here("predict", "image.png", "--onnx", "none.onnx", *option)
        assert code == 2 and f"error: {option[0]} is for models: a file of hclip-export has its own" in errors
    code, _, errors = run_here("export", tiny_config, checkpoint, "--vocab", "cat, cat")
    assert code == 2 and errors.strip().splitlines()[-1].startswith("error: class name 'cat' is given 2 times")
    masks = "configs/fisa/fisa_tiny_scenes.py"
    code, _, errors = run_here("export", masks, "--vocab", "cat")
    assert code == 2 and f"error: {masks} classifies masks: only segmentors and detectors are exported" in errors
    for options, said in (
        (("--images", "image.png"), "--images are for --int8, which is calibrated on them"),
        (("--int8", "--images", "none.png"), "no image at"),
        (("--int8", "--half"), "--int8 is for ONNX"),
        (("--int8", "--format", "pt2"), "--int8 is for ONNX"),
        (("--out", "a.txt"), "a file of the format onnx ends in .onnx, not as a.txt"),
        (("--out", "a"), "a file of the format onnx ends in .onnx, not as a: call it so"),
        (("--out", "a.pt2"), "a file of the format onnx ends in .onnx, not as a.pt2: call it so, or choose"),
    ):
        code, _, errors = run_here("export", tiny_config, checkpoint, "--vocab", "cat", *options)
        assert code == 2 and errors.strip().splitlines()[-1].startswith(f"error: {said}")
