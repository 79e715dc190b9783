"""A full disk ends every command in one line that names the file, and nothing half written or lost is left."""

import tempfile

import pytest
import torch
from full_disk import at_most
from miniature_benchmarks import OWNERS, write_owners
from miniature_coco import write_coco
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image

from hclip_mmseg.files.run_folders import find_latest


@pytest.fixture
def refused(run_here, tmp_path, monkeypatch):
    """Runs a script while no file may have more than so many bytes; returns the one line that it ends in."""
    monkeypatch.chdir(tmp_path)

    def run(size, name, *arguments):
        with at_most(size):
            code, _, errors = run_here(name, *arguments)
        assert code == 2 and "Traceback" not in errors
        lines = [line for line in errors.splitlines() if "error: " in line]
        assert len(lines) == 1 and "cannot be written: File too large" in lines[0], errors
        parts = [path for path in tmp_path.rglob("*") if path.name.endswith((".part", ".partial"))]
        assert not parts
        return lines[0]

    return run


@pytest.fixture(scope="module")
def trained(tiny_config, tmp_path_factory):
    """A checkpoint of the tiny model."""
    init_default_scope("mmseg")
    path = tmp_path_factory.mktemp("trained") / "tiny.pth"
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(tiny_config).model).state_dict()), path)
    return path


def test_a_training_keeps_its_checkpoints_and_goes_on(refused, run_here, tiny_config, experiment, tmp_path):
    work = tmp_path / "run"
    start = (tiny_config, "--work-dir", work)
    assert run_here("train", *start, "--cfg-options", "train_cfg.max_iters=1", experiment())[0] == 0
    good = find_latest(work)
    before = good.read_bytes()
    said = refused(len(before) // 2, "train", *start, "--resume", "--cfg-options", experiment())
    assert str(work / "iter_2.pth") in said and f"the last checkpoint is {good}; go on from it with --resume" in said
    assert find_latest(work) == good and good.read_bytes() == before
    assert not (work / "iter_2.pth").exists()
    assert run_here("train", *start, "--resume", "--cfg-options", experiment())[0] == 0
    assert find_latest(work).name == "iter_3.pth"


def test_a_test_names_the_drawn_image(refused, tiny_config, trained, experiment, tmp_path):
    folders = ("--work-dir", tmp_path / "work", "--show-dir", tmp_path / "drawn")
    assert str(tmp_path / "drawn") in refused(
        20_000, "test", tiny_config, trained, *folders, "--cfg-options", experiment()
    )
    assert not list((tmp_path / "drawn").rglob("*.png"))


def test_configs_are_read_by_way_of_the_folder_for_temporary_files(refused, tiny_config, trained):
    assert f"error: {tempfile.gettempdir()} cannot be written" in refused(20, "test", tiny_config, trained)


def test_a_prediction_ends_at_the_first_image(refused, tiny_config, trained, coco_stuff, tmp_path):
    images = coco_stuff / "images/val2017"
    said = refused(
        8_000, "predict", images, "--vocab", "cat, dog", "--config", tiny_config, "--checkpoint", trained,
        "--out-dir", tmp_path / "out",
    )  # fmt: skip
    assert str(tmp_path / "out") in said
    for path in (tmp_path / "out").iterdir():
        Image.open(path).load()  # whole


def test_checkpoints_are_converted_and_folded_whole_or_not_at_all(refused, tiny_config, trained, tmp_path):
    target = tmp_path / "made.pth"
    target.write_text("the old file")
    assert str(target) in refused(100_000, "convert_checkpoint", trained, target, "--to", "published")
    assert str(target) in refused(100_000, "fold_adapters", tiny_config, trained, target)
    assert target.read_text() == "the old file"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["coco-stuff", "ov-coco"])
def test_a_preparation_keeps_what_is_made_and_goes_on(refused, run_here, name, tmp_path):
    root = tmp_path / "data"
    if name == "ov-coco":
        write_coco(root)
    else:
        write_owners(OWNERS["COCO-Stuff"], root)
    before = sorted(root.rglob("*"))
    said = refused(30, "prepare_dataset", name, "--root", root, "--partial", "--jobs", 1)
    assert str(root) in said and "the same command goes on from there" in said
    assert [path for path in root.rglob("*") if path.is_file() and path not in before] == []
    assert run_here("prepare_dataset", name, "--root", root, "--partial", "--jobs", 1)[0] == 0


def test_figures_end_at_the_first(refused, coco_stuff, tmp_path):
    image = next((coco_stuff / "images/val2017").iterdir())
    said = refused(8_000, "visualize", image, "--vocab", "red square, sky", "--out-dir", tmp_path / "figures")
    assert str(tmp_path / "figures") in said
