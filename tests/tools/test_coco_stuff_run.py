"""The paper's configuration, from the command line, on a miniature COCO-Stuff and random ViT-B/16 weights."""

import json

import numpy as np
import pytest
import torch
from miniature import CLASSES, write_openai_vitb16
from PIL import Image
from processes import run_script

CONFIG = "configs/hclip/hclip_vitb16_coco-stuff.py"
ASKED = CLASSES[:3]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_openai_vitb16(tmp_path_factory.mktemp("pretrained") / "ViT-B-16.pt")


@pytest.fixture(scope="module")
def options(coco_stuff, weights):
    """The real geometry, on smaller images and with fewer classes, so that it ends in time."""
    chosen = [
        f"model.backbone.clip.pretrained={weights}",
        "model.data_preprocessor.size=(96,96)",
        "train_dataloader.dataset.pipeline.4.crop_size=(96,96)",
        "train_dataloader.batch_size=1",
        "default_hooks.checkpoint.interval=1",
        "default_hooks.logger.interval=1",
        "model.test_cfg.clip_resolution=192",
        "model.test_cfg.window=192",
        "model.test_cfg.canvas=192",
    ]
    for split in ("train", "val", "test"):
        chosen += [
            f"{split}_dataloader.dataset.data_root={coco_stuff}",
            f"{split}_dataloader.dataset.metainfo.classes={','.join(ASKED)}",
            f"{split}_dataloader.num_workers=0",
            f"{split}_dataloader.persistent_workers=False",
        ]
    return chosen


def test_trains_saves_resumes_and_reports_miou(repository, options, tmp_path):
    train, work_dir = repository / "tools/train.py", tmp_path / "run"
    first = run_script(
        train, repository / CONFIG, "--work-dir", work_dir, "--cfg-options", *options,
        "train_cfg.max_iters=1", cwd=tmp_path,
    )  # fmt: skip
    assert first.returncode == 0, first.stderr[-3000:]
    assert (work_dir / "iter_1.pth").is_file()
    assert (work_dir / "hclip_vitb16_coco-stuff.py").is_file()
    record = json.loads((work_dir / "run.json").read_text())
    assert record["seed"] == 0 and "torch" in record["versions"]

    second = run_script(
        train, CONFIG, "--work-dir", work_dir, "--resume", "--amp", "--cfg-options", *options,
        "train_cfg.max_iters=2", cwd=tmp_path,
    )  # fmt: skip
    assert second.returncode == 0, second.stderr[-3000:]
    assert "resumed epoch: 0, iter: 1" in second.stdout + second.stderr
    before, after = (
        torch.load(work_dir / f"iter_{i}.pth", map_location="cpu", weights_only=False)["state_dict"] for i in (1, 2)
    )
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert any("adapter" in name for name in changed)
    assert any(name.startswith("decode_head") for name in changed)
    assert "backbone.image_tower.positional_embedding" not in changed, "the published code trains no position either"
    assert not any("in_proj_weight" in name for name in changed), "CLIP's own projections stay frozen"

    tested = run_script(
        repository / "tools/test.py", CONFIG, work_dir / "iter_2.pth", "--work-dir", tmp_path / "tested",
        "--out", tmp_path / "maps", "--show-dir", tmp_path / "shown", "--cfg-options", *options, cwd=tmp_path,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stderr[-3000:]
    assert "mIoU" in tested.stdout + tested.stderr
    maps = sorted((tmp_path / "maps").glob("*.png"))
    assert [path.stem for path in maps] == [f"{number:012d}" for number in range(2)]
    labels = np.asarray(Image.open(maps[0]))
    assert labels.shape == (80, 120) and labels.max() < len(ASKED)
    assert len(list((tmp_path / "shown").rglob("*.png"))) == 2


def test_without_data_and_weights_one_clear_error(repository, tmp_path):
    options = ["model.backbone.clip.pretrained=absent/ViT-B-16.pt"]
    options += [f"{split}_dataloader.dataset.data_root=absent/coco" for split in ("train", "val")]
    ended = run_script(repository / "tools/train.py", CONFIG, "--cfg-options", *options, cwd=tmp_path)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert str(tmp_path / "absent/ViT-B-16.pt") in ended.stderr
    assert str(tmp_path / "absent/coco") in ended.stderr
    assert not (tmp_path / "work_dirs").exists(), "nothing was begun"
