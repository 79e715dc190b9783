"""Each switch of the commands over each tiny system: it works, or one line before any work says why not."""

from __future__ import annotations

import itertools
import runpy
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import torch
from miniature import REPOSITORY
from mmengine.config import Config
from processes import torchrun

TRAINED = ("hclip/hclip", "fisa/fisa", "maft_plus/maft-plus", "detection/hclip")
FREE = ("cliptrase/cliptrase", "cliptrase/value", "cliptrase/unsupervised")
BATCH, BASE = 1, 2
NUMBER = itertools.count()


def config_of(system: str) -> Path:
    return REPOSITORY / f"configs/{system}_tiny_scenes.py"


def options(system: str, iterations: int = 1) -> list[str]:
    known = Config.fromfile(config_of(system))
    name = f"switches{next(NUMBER)}"  # MMEngine keeps what runs of one name share, for the whole process
    settings = [f"experiment_name={name}"]
    if "init_cfg" in known.model.get("generator", {}):
        settings.append("model.generator.init_cfg=None")  # proposals are what the seed makes them
    for split, images in (("train", 2), ("val", 1), ("test", 1)):
        if known.get(f"{split}_dataloader") is not None:
            small = (f"batch_size={BATCH}", "num_workers=0", "persistent_workers=False", f"dataset.length={images}")
            settings += [f"{split}_dataloader.{setting}" for setting in small]
    if known.get("train_cfg") is not None:
        settings += [
            f"train_cfg.max_iters={iterations}",
            "train_cfg.val_interval=9",
            "default_hooks.checkpoint.interval=1",
        ]
    return settings


def run(script: str, *arguments: object) -> tuple[int, str]:
    """A script of tools/ in this process: its exit status, and what it printed."""
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            runpy.run_path(str(REPOSITORY / f"tools/{script}.py"))["main"]([str(part) for part in arguments])
        except SystemExit as ended:
            return int(ended.code or 0), said.getvalue()
    return 0, said.getvalue()


def test(system: str, folder: Path, *switches: object, checkpoint: Path | None = None) -> tuple[int, str]:
    weights = [checkpoint] if checkpoint else []
    return run(
        "test", config_of(system), *weights, "--work-dir", folder / "test", *switches, "--cfg-options", *options(system)
    )


test.__test__ = False


def assert_refused(ended: tuple[int, str], said: str) -> None:
    """The last line is the error, and no image was looked at."""
    code, printed = ended
    last = printed.strip().splitlines()[-1]
    assert code == 2 and last.startswith("error: ") and said in last, printed[-2000:]
    assert "(test)" not in printed and "(train)" not in printed and "Traceback" not in printed


def assert_written(system: str, folder: Path) -> None:
    """One result of the one image that was tested, and one drawn image."""
    ending = ".json" if system.startswith("detection") else ".png"
    assert [path.suffix for path in (folder / "out").rglob("*") if path.is_file()] == [ending]
    assert len(drawn_in(folder)) == 1


def drawn_in(folder: Path) -> list[Path]:
    return [*(folder / "shown").rglob("*.png"), *(folder / "shown").rglob("*.jpg")]


@pytest.fixture(scope="module", params=TRAINED)
def trained(request, tmp_path_factory):
    """A system trained for one iteration by ``--amp --auto-scale-lr``: name, folder."""
    folder = tmp_path_factory.mktemp("switches")
    code, said = run(
        "train", config_of(request.param), "--amp", "--auto-scale-lr", "--work-dir", folder,
        "--cfg-options", *options(request.param), f"auto_scale_lr.base_batch_size={BASE}",
    )  # fmt: skip
    assert code == 0, said[-3000:]
    return request.param, folder


def test_amp_and_auto_scale_lr(trained):
    system, folder = trained
    saved = torch.load(folder / "iter_1.pth", map_location="cpu", weights_only=False)
    rate = Config.fromfile(config_of(system)).optim_wrapper.optimizer.lr
    assert max(group["initial_lr"] for group in saved["optimizer"]["param_groups"]) == pytest.approx(
        rate * BATCH / BASE
    )
    assert "BF16OptimWrapper" in saved["message_hub"]["runtime_info"]["cfg"]
    assert all(tensor.isfinite().all() for tensor in saved["state_dict"].values() if tensor.is_floating_point())


def test_resume(trained):
    system, folder = trained
    first = (folder / "iter_1.pth").stat().st_mtime_ns
    code, said = run(
        "train", config_of(system), "--resume", "--work-dir", folder, "--cfg-options", *options(system, iterations=2)
    )
    assert code == 0, said[-3000:]
    assert (folder / "iter_2.pth").is_file() and (folder / "iter_1.pth").stat().st_mtime_ns == first, "it went on"


def test_out_and_show_dir(trained, tmp_path):
    system, folder = trained
    code, said = test(
        system, tmp_path, "--out", tmp_path / "out", "--show-dir", tmp_path / "shown", checkpoint=folder / "iter_1.pth"
    )
    assert code == 0, said[-3000:]
    assert_written(system, tmp_path)


def test_augmentation_in_testing(trained, tmp_path):
    system, folder = trained
    ended = test(system, tmp_path, "--tta", checkpoint=folder / "iter_1.pth")
    if system.startswith("detection"):
        return assert_refused(ended, "--tta averages the scores of class names over pixels")
    assert ended[0] == 0 and "mIoU" in ended[1], ended[1][-3000:]


@pytest.mark.parametrize("system", FREE)
def test_systems_without_training(system, tmp_path):
    ended = test(system, tmp_path, "--tta")
    if system.endswith("unsupervised"):  # whose clusters take more than the one image of these tests
        assert_refused(ended, "--tta averages the scores of class names over pixels")
    else:
        code, said = test(system, tmp_path, "--out", tmp_path / "out", "--show-dir", tmp_path / "shown")
        assert code == 0 and "mIoU" in said, said[-3000:]
        assert_written(system, tmp_path)
        assert ended[0] == 0 and "mIoU" in ended[1], ended[1][-3000:]
    for switches in (("--amp",), ("--auto-scale-lr",), ("--resume",), ()):
        assert_refused(run("train", config_of(system), "--work-dir", tmp_path / "train", *switches), "train")


def test_a_rate_is_scaled_only_from_a_known_batch(tmp_path):
    ended = run("train", config_of("hclip/hclip"), "--auto-scale-lr", "--work-dir", tmp_path / "run")
    assert_refused(ended, "--auto-scale-lr needs the batch that the config's rate is for")
    assert not list(tmp_path.rglob("*.pth"))


def variants() -> list[str]:
    """The other tiny configs for rendered scenes, such as "fisa/seve"."""
    paths = sorted(REPOSITORY.glob("configs/*/*_tiny_scenes.py"))
    systems = [f"{path.parent.name}/{path.stem.removesuffix('_tiny_scenes')}" for path in paths]
    return [each for each in systems if each not in (*TRAINED, *FREE) and not each.startswith("ablation")]


@pytest.mark.parametrize("system", variants())
def test_variants_take_all_switches_at_once(system, tmp_path):
    weights = None
    if Config.fromfile(config_of(system)).get("train_cfg") is not None:
        code, said = run(
            "train", config_of(system), "--amp", "--auto-scale-lr", "--work-dir", tmp_path / "run",
            "--cfg-options", *options(system), f"auto_scale_lr.base_batch_size={BASE}",
        )  # fmt: skip
        assert code == 0, said[-3000:]
        weights = tmp_path / "run/iter_1.pth"
    shown, out, tta = ("--show-dir", tmp_path / "shown"), ("--out", tmp_path / "out"), ("--tta",)
    if system == "fisa/proposals":  # MMDetection's own model
        assert_refused(test(system, tmp_path, *out, checkpoint=weights), "Mask2Former gives segments alone")
        assert_refused(test(system, tmp_path, *tta, checkpoint=weights), "which Mask2Former does not give")
        code, said = test(system, tmp_path, *shown, checkpoint=weights)
        assert code == 0 and len(drawn_in(tmp_path)) == 1, said[-3000:]
        return
    switches = (*shown, *out) if system.startswith("detection") else (*shown, *out, *tta)
    code, said = test(system, tmp_path, *switches, checkpoint=weights)
    assert code == 0, said[-3000:]
    assert_written(system, tmp_path)


@pytest.mark.parametrize("system", ["fisa/fisa", "maft_plus/maft-plus"])
def test_several_processes(system, tmp_path):
    """Segmentors' and the detector's are compared with a single process in tests of their own."""
    torchrun(
        2, REPOSITORY / "tools/train.py", config_of(system), "--work-dir", tmp_path / "two",
        "--cfg-options", *options(system), cwd=tmp_path,
    )  # fmt: skip
    saved = torch.load(tmp_path / "two/iter_1.pth", map_location="cpu", weights_only=False)
    assert saved["meta"]["iter"] == 1
