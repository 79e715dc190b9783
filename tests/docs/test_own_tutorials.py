"""The tutorials on data of one's own: their commands are read out of the pages and run, with the tiny CLIP."""

from __future__ import annotations

import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import miniature_own as own
import numpy as np
import pytest
from miniature import REPOSITORY
from PIL import Image

TOOLS = {"hclip-new-dataset": "new_dataset", "hclip-train": "train", "hclip-test": "test"}
ITERATIONS = "2"
RUNS: list[str] = []
BOXES = """
_base_ = ["hclip_mmseg::detection/hclip_tiny_scenes.py"]
train_pipeline = [
    dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(192, 192), keep_ratio=False), dict(type="PackDetInputs")]
test_pipeline = [
    dict(type="LoadImageFromFile"), dict(type="Resize", scale=(192, 192), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs",
         meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances"))]
train_cfg = dict(max_iters=2, val_interval=2)
"""


def page(name):
    return (REPOSITORY / f"docs/tutorials/{name}.md").read_text(encoding="utf-8")


def commands(name):
    """The commands of a page, in order."""
    return [shlex.split(line) for line in re.findall(r"^    (hclip-.+)$", page(name), re.MULTILINE)]


@pytest.fixture
def bridges(tmp_path, monkeypatch):
    """The data that the pages name."""
    monkeypatch.chdir(tmp_path)
    maps, root = own.blocks(seed=5), tmp_path / "data/bridges"
    own.write_images(root / "images", maps)
    own.write_grey(root / "masks", maps, first=1)
    own.write_yolo(root / "yolo", maps)
    for name in ("instances.json", "instances_val.json"):
        own.write_coco(root / name, maps)
    return tmp_path


def run(command, *settings):
    """A command of a page, shortened: the tiny CLIP, few steps, no processes of their own."""
    program, *arguments = command
    if program == "hclip-new-dataset":
        arguments += ["--size", "tiny", "--iterations", ITERATIONS, "--batch-size", "2", "--jobs", "1"]
    elif arguments[0].endswith("config.py"):
        arguments = [part.replace("iter_500", f"iter_{ITERATIONS}") for part in arguments]
        arguments += ["--cfg-options", "train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"]
        arguments += ["val_dataloader.num_workers=0", "test_dataloader.num_workers=0"]
        arguments += [f"{part}_dataloader.persistent_workers=False" for part in ("val", "test")]
        arguments += ["default_hooks.visualization.draw=False", f"experiment_name={len(RUNS)}", *settings]
        RUNS.append(program)
        if "KeepHook" in Path(arguments[0]).read_text(encoding="utf-8"):
            arguments.append("custom_hooks.0.names=cat,dog,sky")  # in the place of 1,306
    import_module(f"hclip_tools.{TOOLS[program]}").main(arguments)


def test_own_masks(bridges, capsys):
    look, write, train, test = commands("own_masks")
    run(look)
    said = capsys.readouterr().out
    assert not (bridges / "work_dirs").exists()
    for line in re.findall(r"^assumed: .*$", page("own_masks"), re.MULTILINE):
        assert re.sub(r"[\d.]+%", "N%", line) in re.sub(r"[\d.]+%", "N%", said), "the page shows what is said"
    run(write)
    folder = bridges / "work_dirs/bridges"
    for cell in re.findall(r"^\| (`[^|]+`) \|", page("own_masks").split("What the label maps")[0], re.MULTILINE):
        for file in re.findall(r"`([^`]+)`", cell):
            assert (folder / file).exists() or file == "run/"
    run(train)
    assert list((folder / "run").glob("best_mIoU_unseen_iter_*.pth"))
    assert (folder / f"run/iter_{ITERATIONS}.pth").exists()
    run(test)
    check_figures(folder)


@pytest.mark.parametrize("method", ["fisa", "maft-plus"])
def test_own_masks_for_mask_classifiers(bridges, method):
    _, write, train, test = commands("own_masks")
    random_proposals = ["model.generator.init_cfg=None"] if method == "fisa" else []
    run([*write, "--method", method])
    run(train, *random_proposals)
    folder = bridges / "work_dirs/bridges"
    assert list((folder / "run").glob("best_mIoU_unseen_iter_*.pth"))
    run(test, *random_proposals)
    check_figures(folder)


SMALL = [f"model.{key}=64" for key in ("test_cfg.window", "test_cfg.clip_resolution")] + [
    "model.data_preprocessor.size=(64,64)",
    "train_dataloader.dataset.pipeline.3.short_side=64",
    "train_dataloader.dataset.pipeline.4.crop_size=(64,64)",
]


@pytest.mark.parametrize("form", ["CVAT's colours", "class folders", "Label Studio's masks", "panoptic", "YOLO"])
def test_forms_that_no_page_trains_on_go_through_both_commands(bridges, form):
    write, classes = own.FORMS[form]
    masks = write(bridges / "data", own.blocks(seed=5))
    said = ["--classes", classes] if classes else []
    make = ["hclip-new-dataset", "bridges", "--images", "data/bridges/images", "--masks", str(masks)]
    run([*make, *said, "--held-out", "rust", "--unlabelled", "background", "--iterations", "1"])
    _, _, train, test = commands("own_masks")
    run(train, *SMALL)
    run(test, *SMALL)
    check_figures(bridges / "work_dirs/bridges")


def check_figures(folder):
    """The metric's mIoU, on all and on held-out names, is that of the label maps that were written."""
    names = (folder / "val.txt").read_text().split()
    pairs = []
    for name in names:
        (predicted,) = (folder / "predicted").rglob(f"{name}.png")
        pairs.append((np.asarray(Image.open(folder / f"labels/{name}.png")), np.asarray(Image.open(predicted))))
    labels, predicted = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    iou = np.array(
        [
            100 * ((labels == label) & (predicted == label)).sum() / ((labels == label) | (predicted == label)).sum()
            for label in range(4)
        ]
    )
    logs = [path for path in (folder / "run").rglob("*.json") if path.parent.name != "vis_data"]
    found = json.loads(max(logs, key=lambda path: path.stat().st_mtime).read_text())
    assert found["mIoU"] == pytest.approx(np.nanmean(iou), abs=0.01)
    assert found["mIoU_unseen"] == pytest.approx(iou[1], abs=0.01)


def test_own_coco(bridges):
    look, write, train, yolo = commands("own_coco")
    for command in (look, write, train, yolo):
        run(command)
    first, second = (bridges / "work_dirs" / name / "labels/img_0.png" for name in ("bridges", "bridges-yolo"))
    np.testing.assert_array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))
    assert list((bridges / "work_dirs/bridges/run").glob("best_mIoU_iter_*.pth"))


def test_few_images(bridges):
    for command in commands("few_images"):
        run(command)
    lists = {(bridges / "work_dirs" / name / "val.txt").read_text() for name in ("few", "few-frozen")}
    assert len(lists) == 1 and len(lists.pop().split()) == 4


def test_keep(bridges):
    for command in commands("keep"):
        run(command)
    rows = json.loads((bridges / "work_dirs/kept/run/keep.json").read_text())
    assert [row["name"] for row in rows] == [
        *("frozen CLIP", "step 1", "step 2", "strength 0.25", "strength 0.5", "strength 0.75")
    ]
    assert all({"mIoU", "mIoU_seen", "mIoU_unseen", "foreign", "text_drift", "image_drift"} <= set(row) for row in rows)
    assert rows[0]["text_drift"] == 0 < rows[3]["text_drift"] < rows[4]["text_drift"] < rows[2]["text_drift"]
    assert (bridges / "work_dirs/kept/run/keep.png").stat().st_size > 1000
    mixed = json.loads((bridges / "work_dirs/mixed/run/keep.json").read_text())
    assert len(mixed) == 6 and "foreign" not in mixed[0]


def test_own_boxes(bridges):
    (source,) = re.findall(r"```python\n(.*?)```", page("own_boxes"), re.DOTALL)
    (bridges / "tiny.py").write_text(BOXES)
    tiny = source.replace('"hclip_mmseg::detection/hclip_vitb16_ov-coco.py"', '"./tiny.py"')
    assert tiny != source
    (bridges / "boxes.py").write_text(tiny)
    (command,) = commands("own_boxes")
    run([*command, "--work-dir", "boxes", "--cfg-options", "train_dataloader.num_workers=0",
         "train_dataloader.persistent_workers=False", "val_dataloader.num_workers=0",
         "default_hooks.visualization.draw=False"])  # fmt: skip
    assert (bridges / "boxes/iter_2.pth").exists()


def test_messages_are_those_of_the_code():
    sources = "".join(
        re.sub(r'"\n\s+f?"', "", path.read_text(encoding="utf-8"))
        for path in (REPOSITORY / "hclip_mmseg").rglob("*.py")
    )
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", page("zero_or_nan"), re.MULTILINE)[1:]
    assert len(rows) == 8
    for row in rows:
        for message in re.findall(r"`([^`]+)`", row):
            assert message in sources, message
