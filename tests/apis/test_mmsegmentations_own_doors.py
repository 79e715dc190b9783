"""MMSegmentation's own functions, inferencer, wrapper and tools on our configs."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmseg.apis import MMSegInferencer, inference_model, init_model, show_result_pyplot
from mmseg.registry import MODELS as SEGMENTORS
from PIL import Image

from hclip_mmseg.apis.mmseg_inferencer import OpenVocabMMSegInferencer

NAMES = ("red circle", "grass", "sand")
IMAGE = np.random.default_rng(0).integers(0, 256, (96, 120, 3), dtype=np.uint8)
SEGMENTORS_OF = ("hclip/hclip", "cliptrase/cliptrase", "fisa/fisa", "maft_plus/maft-plus")
TOOLS = Path(mmseg.__file__).parent / ".mim/tools"


def all_configs(repository):
    paths = sorted(repository.glob("configs/*/*.py"))
    return [path for path in paths if path.parent.name not in ("_base_", "ablation")]


@pytest.fixture(params=SEGMENTORS_OF)
def trained(request, repository, tmp_path):
    """Paths of a config and of a checkpoint as training writes it."""
    path = repository / f"configs/{request.param}_tiny_scenes.py"
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    meta = dict(dataset_meta=dict(classes=NAMES, palette=[[9, 9, 9]] * 3))
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta=meta), tmp_path / "trained.pth")
    return str(path), str(tmp_path / "trained.pth"), cfg.default_scope


def test_init_model_looks_for_the_names_of_the_checkpoints_data_set(trained, tmp_path):
    config, checkpoint, _ = trained
    model = init_model(config, checkpoint, device="cpu")
    assert model.vocabulary == NAMES
    Image.fromarray(IMAGE).save(tmp_path / "image.png")
    found = inference_model(model, str(tmp_path / "image.png"))
    assert found.pred_sem_seg.data.shape == (1, 96, 120)
    assert show_result_pyplot(model, IMAGE, found, show=False, out_file=str(tmp_path / "o.png")).shape[2] == 3
    model.set_vocabulary(["cat", "dog", "sky", "sea"])
    assert model.dataset_meta["classes"] == ("cat", "dog", "sky", "sea")
    assert len(model.dataset_meta["palette"]) == 4
    show_result_pyplot(model, IMAGE, inference_model(model, IMAGE), show=False, out_file=str(tmp_path / "p.png"))


def test_the_inferencer_finds_and_draws(trained, tmp_path):
    config, checkpoint, scope = trained
    inferencer = MMSegInferencer(config, checkpoint, device="cpu", scope=scope, show_progress=False)
    found = inferencer(IMAGE, return_vis=True)
    assert inferencer.model.vocabulary == NAMES
    assert found["predictions"].shape == (96, 120) and found["predictions"].max() < 3
    assert found["visualization"].ndim == 3 and found["visualization"].dtype == np.uint8


def test_the_inferencers_classes_reach_the_model(trained):
    config, checkpoint, _ = trained
    inferencer = OpenVocabMMSegInferencer(config, checkpoint, "cat, dog", device="cpu", show_progress=False)
    assert inferencer.model.vocabulary == ("cat", "dog")
    assert inferencer(IMAGE)["predictions"].max() < 2
    with pytest.raises(ValueError, match="given 2 times"):
        OpenVocabMMSegInferencer(config, checkpoint, ["cat", "cat"], device="cpu")


def test_every_segmentors_config_can_load_an_image(repository):
    for path in all_configs(repository):
        cfg = Config.fromfile(path)
        if "roi_head" in cfg.model:
            continue
        first = cfg.test_pipeline[0]["type"]
        assert first in ("LoadImageFromFile", "mmseg.LoadReducedImageFromFile"), path


@pytest.mark.parametrize("config", ["fisa/fisa", "maft_plus/maft-plus", "detection/hclip"])
@pytest.mark.parametrize("registry", [MODELS, SEGMENTORS], ids=["mmengine", "mmseg"])
def test_a_model_of_mmdetection_names_the_scope_that_is_missing(config, registry, repository):
    cfg = Config.fromfile(repository / f"configs/{config}_tiny_scenes.py")
    with registry.switch_scope_and_registry("mmseg"), pytest.raises(ValueError, match="init_default_scope"):
        registry.build(cfg.model)


def run_tool(monkeypatch, name, *arguments):
    monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
    runpy.run_path(str(TOOLS / name), run_name="__main__")


def test_get_flops(repository, monkeypatch, capsys):
    path = repository / "configs/hclip/hclip_tiny_scenes.py"
    names = "model.text_encoder.vocabulary=[cat,dog]"
    run_tool(monkeypatch, "analysis_tools/get_flops.py", path, "--shape", 192, "--cfg-options", names)
    assert "Flops: " in capsys.readouterr().out


def test_complexity_of_a_model_without_training(repository):
    cfg = Config.fromfile(repository / "configs/cliptrase/cliptrase_tiny_scenes.py")
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).eval()
    model.set_vocabulary(["cat", "dog"])
    image = (torch.rand(1, 3, 192, 192),)
    found = get_model_complexity_info(model, input_shape=None, inputs=image, show_table=False, show_arch=False)
    weights = sum(w.numel() for w in model.parameters())
    assert found["params"] == weights and found["flops"] > weights


def test_print_config(repository, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    run_tool(monkeypatch, "misc/print_config.py", repository / "configs/hclip/hclip_tiny_scenes.py")
    assert "OpenVocabSegmentor" in capsys.readouterr().out
    assert Config.fromfile(tmp_path / "example.py").model.type == "OpenVocabSegmentor"


def test_browse_dataset(repository, monkeypatch, tmp_path):
    path = repository / "configs/hclip/hclip_tiny_scenes.py"
    # under a name of its own: MMEngine gives back a visualizer that another test has made
    options = ["--cfg-options", "train_dataloader.dataset.length=2", "visualizer.name=browsed"]
    run_tool(monkeypatch, "misc/browse_dataset.py", path, "--output-dir", tmp_path, "--not-show", *options)
    assert len(list(tmp_path.rglob("*.png"))) == 2


def test_benchmark(repository, monkeypatch, tmp_path):
    cfg = Config.fromfile(repository / "configs/hclip/hclip_tiny_scenes.py")
    cfg.model.text_encoder.vocabulary = ["cat", "dog"]
    cfg.model.test_cfg = dict(mode="whole", window=32, clip_resolution=32)
    cfg.test_dataloader = dict(cfg.test_dataloader, num_workers=0)
    cfg.test_dataloader.dataset.update(length=200, image_size=64)
    cfg.test_dataloader.dataset.radius = (8.0, 12.0)
    cfg.dump(tmp_path / "small.py")
    folder = tmp_path / "figures"
    run_tool(monkeypatch, "analysis_tools/benchmark.py", tmp_path / "small.py", "none.pth", "--work-dir", folder)
    (figures,) = folder.glob("fps_*.json")
    assert json.loads(figures.read_text())["average_fps"] > 0
