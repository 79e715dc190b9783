"""tools/predict.py on good and bad images."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image
from processes import run_script
from pycocotools.coco import COCO

from hclip_mmseg.apis.predict import image_ids, names_of, warnings_about
from hclip_mmseg.files.result_names import name_results


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    image.save(folder / "good.jpg")
    image.convert("L").save(folder / "grey.png")
    (folder / "broken.jpg").write_bytes((folder / "good.jpg").read_bytes()[:400])
    (folder / "empty.png").touch()
    (folder / "folder.png").mkdir()
    (folder / os.fsdecode(b"latin\xe9.png")).write_bytes((folder / "grey.png").read_bytes())
    return folder


def test_bad_images_are_reported_and_the_rest_is_done(tiny_config, repository, images, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat, house cat\ngrass\ntraffic light\n")
    ended = run_script(
        repository / "tools/predict.py", images, tmp_path / "absent.jpg", "--vocab", names,
        "--config", tiny_config, "--out-dir", "results", "--device", "cpu", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr[-3000:]
    written = sorted(path.name for path in (tmp_path / "results").iterdir())
    kinds = (".json", "_labels.png", "_overlay.png")
    assert written == sorted(f"{name}{kind}" for name in ("good", "grey", "latin_") for kind in kinds)
    labels = np.asarray(Image.open(tmp_path / "results/good_labels.png"))
    assert labels.shape == (60, 80) and labels.max() <= 2
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    for name in ("broken.jpg", "empty.png", "absent.jpg"):
        assert any(name in error for error in errors)
    assert "3 of 6 images done" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_bad_words_end_in_one_line(tiny_config, repository, images, tmp_path):
    ended = run_script(
        repository / "tools/predict.py", images, "--vocab", "cat, cat", "--config", tiny_config,
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].startswith("error: class name 'cat' is given 2 times")
    assert not (tmp_path / "predictions").exists()


def test_formats_of_a_run(tiny_config, run_here, images, tmp_path):
    out = tmp_path / "out"
    command = ("predict", images / "good.jpg", images / "grey.png", "--vocab", "cat, grass", "--config", tiny_config,
               "--device", "cpu", "--out-dir", out)  # fmt: skip
    code, _, errors = run_here(*command, "--format", "labels,yolo")
    assert code == 2 and "no format 'yolo'" in errors and not out.exists()
    code, _, errors = run_here(*command, "--format", "labels,coco,panoptic,csv")
    assert code == 0, errors
    found = COCO(str(out / "predictions.json"))
    assert [found.imgs[number]["file_name"] for number in (1, 2)] == ["good.jpg", "grey.png"]
    labels = np.asarray(Image.open(out / "good_labels.png"))
    for annotation in found.loadAnns(found.getAnnIds(imgIds=1)):
        assert np.array_equal(found.annToMask(annotation) == 1, labels == annotation["category_id"] - 1)
        assert 0 < annotation["score"] <= 1
    assert {path.name for path in (out / "panoptic").iterdir()} == {"good.png", "grey.png"}
    assert (out / "results.csv").is_file() and not (out / "good_overlay.png").exists()


def test_processes_that_share_a_folder(tiny_config, run_here, images, tmp_path):
    out = tmp_path / "out"
    command = ("predict", images / "good.jpg", images / "grey.png", "--vocab", "cat, grass", "--config", tiny_config,
               "--device", "cpu", "--out-dir", out, "--format", "labels,coco")  # fmt: skip
    code, _, errors = run_here(*command, "--part", "3/2")
    assert code == 2 and "such as 1/4, not '3/2'" in errors
    for part, image in ((1, "good"), (2, "grey")):
        code, printed, errors = run_here(*command, "--part", f"{part}/2", "--batch-size", 2)
        assert code == 0 and "1 of 1 images done" in printed, errors
        found = COCO(str(out / f"predictions_{part}-of-2.json"))
        assert list(found.imgs) == [part] and (out / f"{image}_labels.png").is_file()
    code, printed, errors = run_here("predict", "--merge-parts", "--out-dir", out)
    assert code == 0 and printed.strip() == str(out / "predictions.json"), errors
    assert list(COCO(str(out / "predictions.json")).imgs) == [1, 2]


def test_images_of_one_name_are_told_apart_in_the_files_of_a_run(tiny_config, run_here, images, tmp_path):
    for folder, image in (("a", "good.jpg"), ("b", "good.jpg"), ("b", "grey.png")):
        (tmp_path / "all" / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(images / image, tmp_path / "all" / folder / image)
    code, _, errors = run_here(
        "predict", tmp_path / "all", "--recursive", "--vocab", "cat, grass", "--config", tiny_config,
        "--device", "cpu", "--out-dir", tmp_path / "out", "--format", "coco",
    )  # fmt: skip
    assert code == 0, errors
    found = COCO(str(tmp_path / "out" / "predictions.json"))
    assert [image["file_name"] for image in found.imgs.values()] == ["a/good.jpg", "b/good.jpg", "grey.png"]


def test_images_called_by_numbers_keep_them_as_ids():
    def ids(*paths):
        return list(image_ids([Path(path) for path in paths]).values())

    assert ids("val/000000000139.jpg", "val/285.jpg") == [139, 285]
    assert ids("a/1.jpg", "b/1.jpg") == [1, 2]
    assert ids("7.jpg", "b.jpg") == [1, 2]


def test_images_without_a_file_have_names_for_their_results():
    paths = ["-", "http://a.org/x/1.jpg?v=1.2", "http://a.org/x/1.jpg?v=1.3", Path("b/2.jpg")]
    names = names_of(paths)
    assert list(names) == [str(path) for path in paths] and len(set(names.values())) == 4
    assert names["-"] == "stdin" and names["b/2.jpg"] == "2"
    assert not any(character in name for name in names.values() for character in "/?&")


def test_no_two_images_have_results_of_one_name():
    def names(*paths):
        return list(name_results([Path(path) for path in paths]).values())

    assert names("a/1.jpg", "a/2.jpg") == ["1", "2"]
    assert names("a/1.jpg", "a/1.png") == ["a_1.jpg", "a_1.png"]
    assert names("train/images/1.jpg", "val/images/1.jpg", "3.jpg") == ["train_images_1.jpg", "val_images_1.jpg", "3"]
    for paths in (["/x/1.jpg", "x/1.jpg"], ["a_1.jpg.png", "a/1.jpg", "b/1.jpg"], ["1.jpg", "a/1.jpg", "a_1.jpg"]):
        assert len(set(names(*paths))) == len(paths)


def test_a_folded_checkpoint_gives_the_same_labels(tiny_config, run_here, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    init_default_scope("mmseg")
    torch.manual_seed(3)
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(tiny_config).model).state_dict()), "tiny.pth")
    code, out, errors = run_here(
        "fold_adapters", tiny_config, "tiny.pth", "new/folded.pth", "--clip", "other/clip.pt"
    )  # fmt: skip
    assert code == 0 and Path("other/clip.pt").is_file() and not list(Path().rglob("*.part*")), errors
    command = ("predict", images / "good.jpg", "--vocab", "cat, grass", "--config", tiny_config, "--device", "cpu")
    assert run_here(*command, "--checkpoint", "tiny.pth", "--out-dir", "trained")[0] == 0
    code, _, errors = run_here(*command, "--checkpoint", "new/folded.pth", "--out-dir", "folded")
    assert code == 2 and "it lacks the adapters" in errors and "model.backbone.adapter=None" in errors
    code, _, errors = run_here(
        *command, "--checkpoint", "new/folded.pth", "--out-dir", "folded", "--cfg-options",
        "model.backbone.adapter=None",
    )  # fmt: skip
    assert code == 0, errors
    labels = [np.asarray(Image.open(f"{folder}/good_labels.png")) for folder in ("trained", "folded")]
    assert (labels[0] == labels[1]).mean() > 0.999 and len(np.unique(labels[0])) == 2


@pytest.mark.parametrize(
    ("names", "checkpoint", "said"),
    [
        (("red striped circle", "grass"), None, []),
        (("cat", "grass"), None, ["rendered shapes"]),
        (("grass",), None, ["'grass' alone takes every pixel"]),
        (("grass",), "a.pth", ["--threshold 0.5"]),
    ],
)
def test_what_is_said_of_the_embedded_model_and_of_one_name(names, checkpoint, said, repository):
    config = Config.fromfile(repository / "configs/hclip/hclip_tiny_scenes.py")
    lines = warnings_about(config, names, checkpoint)
    assert len(lines) == len(said) and all(part in line for part, line in zip(said, lines, strict=True))


def test_a_model_of_photographs_is_not_warned_of(repository):
    config = Config.fromfile(repository / "configs/hclip/hclip_vitb16_coco-stuff.py")
    assert warnings_about(config, ("cat", "dog"), None) == []
