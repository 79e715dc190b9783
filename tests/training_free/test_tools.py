"""tools/test.py and tools/predict.py without a checkpoint, and the configs."""

from __future__ import annotations

import runpy

import numpy as np
import pytest
from golden_numbers import read_json
from miniature import REPOSITORY
from mmengine.config import Config
from PIL import Image
from processes import run_script

from hclip_mmseg.datasets.benchmarks import benchmark_of, find_benchmark
from hclip_mmseg.evaluation.printed_figures import printed_figures

PUBLISHED = ("COCO-Object", "VOC21", "PC60", "COCO-Stuff", "VOC20", "PC59", "PC459", "ADE150", "ADEfull")
TINY = [
    "model.backbone.clip.model=hclip_mmseg/demo_assets/tiny_clip.json",
    "model.backbone.clip.pretrained=hclip_mmseg/demo_assets/tiny_clip.pt",
    "model.text_encoder.templates=scene",
]


@pytest.mark.parametrize("size", [224, 336])
@pytest.mark.parametrize("heading", PUBLISHED)
def test_config(size, heading):
    config = Config.fromfile(REPOSITORY / f"configs/cliptrase/cliptrase_vitb16_{size}_{heading.lower()}.py")
    published = read_json("published")[f"cliptrase_vitb16_{size}"]
    benchmark = find_benchmark(heading)
    assert benchmark_of(config.test_dataloader.dataset) is benchmark
    printed = {metric: entry.figure for (name, metric), entry in printed_figures(config.paper).items()
               if name == benchmark.name}  # fmt: skip
    assert printed == dict(zip(published["columns"], published["CLIPtrase"][heading], strict=True))
    assert config.model.resolution == config.test_dataloader.dataset.pipeline[2]["size"] == size
    assert config.model.regions == (
        dict(epsilon=0.7, min_samples=3) if size == 224 else dict(epsilon=1.1, min_samples=7)
    )
    assert config.model.times_cls == ["pascal_voc_20", "pascal_voc_20@cliptrase"]
    assert not config.get("train_dataloader") and not config.get("val_dataloader")


def test_benchmark_without_checkpoint(coco_stuff, tmp_path):
    ended = run_script(
        REPOSITORY / "tools/test.py", "configs/cliptrase/cliptrase_vitb16_224_coco-stuff.py", "--out", "labels",
        "--cfg-options", *TINY, f"test_dataloader.dataset.data_root={coco_stuff}", "test_dataloader.num_workers=0",
        "test_dataloader.persistent_workers=False", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    output = ended.stdout + ended.stderr
    for expected in ("aAcc", "fwIoU", "printed (CLIPtrase, ViT-B/16 at 224) | 38.9 | 44.47 | 26.87 | 22.84"):
        assert expected in output
    written = sorted((tmp_path / "labels").rglob("*.png"))
    assert len(written) == 2
    assert np.asarray(Image.open(written[0])).shape == (224, 224)


def test_a_config_without_test_data_asks_for_benchmarks(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["tools/test.py", "configs/cliptrase/cliptrase_vitb16_336.py"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(REPOSITORY / "tools/test.py"), run_name="__main__")
    assert ended.value.code == 2
    assert "has no test data of its own: choose some by --benchmarks" in capsys.readouterr().err


def test_trained_models_ask_for_a_checkpoint(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["tools/test.py", "configs/hclip/hclip_tiny_scenes.py"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(REPOSITORY / "tools/test.py"), run_name="__main__")
    assert ended.value.code == 2
    assert "give the checkpoint to be tested after it" in capsys.readouterr().err


def test_predict(monkeypatch, capsys, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    config = "configs/cliptrase/sclip_tiny_scenes.py"
    arguments = ["image.png", "--vocab", "grass, a cat", "--config", config, "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["tools/predict.py", *arguments])
    runpy.run_path(str(REPOSITORY / "tools/predict.py"), run_name="__main__")
    assert "1 of 1 images done" in capsys.readouterr().out
    assert np.asarray(Image.open(tmp_path / "predictions/image_labels.png")).shape == (50, 90)
