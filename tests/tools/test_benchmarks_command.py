"""Benchmarks one after another from the command line, on miniature data sets, against counting by hand."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from processes import run_script, torchrun

from hclip_mmseg.benchmarks.choice import choose, pipeline_for, ready
from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.benchmarks import BENCHMARKS

ANIMALS = ("person", "car", "dog", "grass", "axolotl")  # the tiny config trains on the first four
THINGS = ("bicycle", "tree", "lighthouse")

DATASET = """
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="BaseSegDataset", data_root="data/{folder}", ignore_index={ignored},
        data_prefix=dict(img_path="images", seg_map_path="labels"), metainfo=dict(classes={classes}),
        pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]))
test_evaluator = dict(type="OpenVocabIoUMetric", iou_metrics=["mIoU"], ignore_index={ignored})
"""


@pytest.fixture(scope="module")
def config(tiny_config, tmp_path_factory):
    """The tiny config with a row of a paper."""
    path = tmp_path_factory.mktemp("row") / "row.py"
    row = dict(table="main results", row="Tiny, ViT-X", mIoU={"Animals": 41.5, "Elsewhere": 12.0})
    path.write_text(f"_base_ = [{str(tiny_config)!r}]\npaper = {row}\n")
    return path


@pytest.fixture(scope="module")
def checkpoint(config, tmp_path_factory):
    init_default_scope("mmseg")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(config).model).state_dict()), path)
    return path


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two prepared benchmarks of other names and other ignored labels, one of which the data lacks; data's root."""
    root = tmp_path / "data"
    for folder, name, classes, ignored in (
        ("animals", "Animals", ANIMALS, 255),
        ("things", "Things", THINGS, 9),
        ("absent", "Absent", THINGS, 255),
    ):
        path = tmp_path / f"{folder}.py"
        path.write_text(DATASET.format(folder=folder, classes=classes, ignored=ignored))
        entry = Benchmark(
            name, str(path), "none", f"data/{folder}", ("images", "labels/*.png"), preparation=folder
        )
        monkeypatch.setitem(BENCHMARKS, name, entry)
        if name != "Absent":
            write_images(root / folder, len(classes), ignored)
    return root


def write_images(folder, classes, ignored, count=3):
    """Random images, named alike in every benchmark, with blocks of all labels and ignored ones."""
    random = np.random.default_rng(classes)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        blocks = random.choice([*range(classes), ignored], size=(4, 4))
        Image.fromarray(blocks.repeat(16, 0).repeat(20, 1).astype(np.uint8)).save(folder / f"labels/{number}.png")
        image = random.integers(0, 256, (64, 80, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"images/{number}.jpg")


@pytest.fixture
def run(config, checkpoint, data, run_here, experiment):
    """Runs tools/test.py on benchmarks; returns exit code, output and errors."""

    def run_test(*arguments, model=checkpoint, config=config, options=()):
        return run_here(
            "test", config, model, "--data-root", data, "--work-dir", data.parent / "work", *arguments,
            "--cfg-options", experiment(), *options,
        )  # fmt: skip

    return run_test


def stored(data, name="tiny"):
    return json.loads((data.parent / f"work/benchmarks/{name}.json").read_text())


def by_hand(maps, folder, classes, ignored):
    """Metrics in percent from label maps, pixel by pixel."""
    pairs = []
    for path in sorted((folder / "labels").iterdir()):
        truth, found = np.asarray(Image.open(path)).ravel(), np.asarray(Image.open(maps / path.name)).ravel()
        pairs += [(t, f) for t, f in zip(truth.tolist(), found.tolist(), strict=True) if t != ignored]
    iou, accuracy, share = {}, {}, {}
    for index, name in enumerate(classes):
        both = sum(t == f == index for t, f in pairs)
        either = sum(index in (t, f) for t, f in pairs)
        there = sum(t == index for t, _ in pairs)
        iou[name], accuracy[name], share[name] = 100 * both / either, 100 * both / there, there / len(pairs)
    return dict(
        iou=iou,
        mIoU=np.mean(list(iou.values())),
        mAcc=np.mean(list(accuracy.values())),
        pAcc=100 * np.mean([t == f for t, f in pairs]),
        fwIoU=sum(iou[name] * share[name] for name in classes),
    )


def test_one_model_and_the_names_of_each_benchmark(run, data, config, checkpoint):
    maps, shown = data.parent / "maps", data.parent / "shown"
    code, out, errors = run("--benchmarks", "Things", "Animals", "--out", maps, "--show-dir", shown)
    assert code == 0, errors
    images = sorted(path.name for path in shown.rglob("*.png"))
    assert images == [f"test_{name}_{number}_0.png" for name in ("Animals", "Things") for number in range(3)]
    found = stored(data)
    assert list(found["measured"]) == ["Things", "Animals"]
    for name, folder, classes, ignored in (("Animals", "animals", ANIMALS, 255), ("Things", "things", THINGS, 9)):
        expected = by_hand(maps / name, data / folder, classes, ignored)
        result = found["measured"][name]
        for metric in ("mIoU", "mAcc", "pAcc", "fwIoU"):
            assert result["metrics"][metric] == pytest.approx(expected[metric], abs=0.01)
        assert {entry["name"]: entry["IoU"] for entry in result["classes"]} == pytest.approx(expected["iou"], abs=0.01)
        seen = [entry["name"] for entry in result["classes"] if entry["seen"]]
        assert seen == [name for name in classes if name not in ("axolotl", "lighthouse")]
        unseen = expected["iou"][classes[-1]]
        assert result["metrics"]["mIoU_unseen"] == pytest.approx(unseen, abs=0.01)
        assert result["metrics"]["mIoU_seen"] == pytest.approx(
            (expected["mIoU"] * len(classes) - unseen) / (len(classes) - 1), abs=0.01
        )
        assert result["images"] == 3

    measured = f"{found['measured']['Animals']['metrics']['mIoU']:.2f}"
    of_things = f"{found['measured']['Things']['metrics']['mIoU']:.2f}"
    text = (data.parent / "work/benchmarks/tiny.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == "|  | Things | Animals |"
    assert lines[2] == f"| mIoU, measured here | {of_things} | {measured} |"
    assert lines[3] == "| mIoU, printed (Tiny, ViT-X) |  | 41.5 |"
    assert "41.5" in out and measured in out and "printed (Tiny, ViT-X)" in out
    assert all(part in text for part in (str(config), str(checkpoint), "seed 0", "torch 2", "axolotl | no"))

    with (data.parent / "work/benchmarks/tiny.csv").open() as file:
        rows = list(csv.DictReader(file))
    row = next(row for row in rows if (row["benchmark"], row["metric"]) == ("Animals", "mIoU"))
    assert (float(row["measured"]), row["printed"], row["seed"]) == (float(measured), "41.5", "0")
    assert row["config"] == str(config) and "torch 2" in row["versions"]
    with (data.parent / "work/benchmarks/tiny_classes.csv").open() as file:
        assert [(row["class"], row["seen"]) for row in csv.DictReader(file)][:3] == [
            ("bicycle", "yes"), ("tree", "yes"), ("lighthouse", "no"),
        ]  # fmt: skip


def test_an_interrupted_evaluation_goes_on_with_what_remains(run, data):
    image = data / "things/images/2.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[:50])
    code, _, errors = run("--benchmarks", "Animals", "Things")
    assert code == 2 and f"error: {image} is no image" in errors
    assert list(stored(data)["measured"]) == ["Animals"]
    assert "Things" in (data.parent / "work/benchmarks/tiny.md").read_text(), "the row so far is there"

    image.write_bytes(whole)
    path = data.parent / "work/benchmarks/tiny.json"
    results = stored(data)
    results["measured"]["Animals"]["metrics"]["mIoU"] = 87.65  # to tell it from one measured again
    path.write_text(json.dumps(results))
    code, out, errors = run("--benchmarks", "Animals", "Things")
    assert code == 0, errors
    found = stored(data)
    assert list(found["measured"]) == ["Animals", "Things"]
    assert found["measured"]["Animals"]["metrics"]["mIoU"] == 87.65 and "87.65" in out
    assert [found["measured"][name]["run"] for name in ("Animals", "Things")] == [0, 1]
    again = stored(data)
    code, out, _ = run("--benchmarks", "Things")
    assert code == 0 and "87.65" not in out
    assert stored(data) == again, "nothing was left to measure"
    assert "87.65" in (data.parent / "work/benchmarks/tiny.md").read_text(), "files keep what was not asked for"


def test_label_maps_of_what_has_a_result(run, data):
    maps = data.parent / "maps"
    assert run("--benchmarks", "Animals")[0] == 0
    before = stored(data)["measured"]["Animals"]
    assert run("--benchmarks", "Animals", "--out", maps)[0] == 0
    assert len(list((maps / "Animals").iterdir())) == 3
    after = stored(data)["measured"]["Animals"]
    assert after["metrics"] == before["metrics"] and after["folders"] == [str(maps)]
    whole = stored(data)
    code, out, _ = run("--benchmarks", "Animals", "--out", maps)
    assert code == 0 and stored(data) == whole, "nothing was left to do"


def test_results_of_another_model_are_refused_and_kept(run, data, checkpoint, tmp_path):
    assert run("--benchmarks", "Animals")[0] == 0
    before = stored(data)

    code, _, errors = run("--benchmarks", "Animals", "Things", options=["model.test_cfg.canvas=80"])
    assert code == 2 and "model.test_cfg.canvas was 96 then and is 80 now" in errors
    assert "Remove it to begin anew, or give another --work-dir" in errors

    code, _, errors = run("--benchmarks", "Animals", options=["test_dataloader.dataset.indices=2"])
    assert code == 2 and "Animals: dataset.indices was null then and is 2 now" in errors
    code, _, errors = run("--benchmarks", "Animals", options=["test_dataloader.num_workers=1"])
    assert code == 0, errors

    state = torch.load(checkpoint)
    state["state_dict"]["backbone.image_tower.positional_embedding"] += 1
    other = tmp_path / "other" / checkpoint.name
    other.parent.mkdir()
    torch.save(state, other)
    code, _, errors = run("--benchmarks", "Animals", model=other)
    assert code == 2 and f"the checkpoint {other} has changed" in errors
    assert stored(data) == before

    for label_map in (data / "animals/labels").iterdir():
        labels = np.asarray(Image.open(label_map)).copy()
        labels[:, 1::2] = 3  # prepared anew, otherwise
        Image.fromarray(labels).save(label_map)
    code, _, errors = run("--benchmarks", "Animals")
    assert code == 2 and "the config or the data has changed: Animals: data.digest was" in errors
    for kind in ("images/2.jpg", "labels/2.png"):
        (data / "animals" / kind).unlink()
    code, _, errors = run("--benchmarks", "Animals")
    assert code == 2 and "Animals: data.images was 3 then and is 2 now" in errors
    assert stored(data) == before

    (data.parent / "work/benchmarks/tiny.json").write_text("{")
    code, _, errors = run("--benchmarks", "Animals")
    assert code == 2 and "is no file of benchmark results" in errors


def test_what_is_wrong_is_said_before_any_work(run, data, checkpoint):
    code, _, errors = run("--benchmarks", "Animals", "animal")
    assert code == 2 and errors.startswith("error: no benchmark 'animal'; did you mean 'Animals'? (there are: A-847, ")

    code, _, errors = run("--benchmarks", "Animals", "Absent", "A-847")
    assert code == 2 and errors.startswith("error: these benchmarks cannot be run:")
    assert f"Absent: looked for a folder {data / 'absent'}." in errors
    assert f"A-847: looked for a folder {data / 'ade/ADE20K_2021_17_01'}." in errors
    assert "python tools/prepare_dataset.py ade20k-847 --root" in errors and "Animals:" not in errors

    for path in (data / "things/labels").iterdir():
        path.unlink()
    code, _, errors = run("--benchmarks", "Things")
    assert code == 2 and f"Things: not prepared: {data / 'things/labels/*.png'} is missing" in errors

    (data / "animals/labels/1.png").unlink()
    code, _, errors = run("--benchmarks", "Animals")
    assert code == 2 and f"the label map {data / 'animals/labels/1.png'} is missing" in errors

    code, _, errors = run("--benchmarks", "Animals", "some/iter_80000.pth")
    assert code == 2 and "CONFIG and CHECKPOINT come before --benchmarks" in errors
    code, _, errors = run("--benchmarks", "all", "Animals")
    assert code == 2 and "'all' stands alone" in errors
    code, _, errors = run("--benchmarks", "Animals", model=data / "absent.pth")
    assert code == 2 and "Traceback" not in errors
    assert not (data.parent / "work").exists(), "nothing was begun"


def test_all_and_found(run, data):
    code, _, errors = run("--benchmarks", "all")
    semantic = [benchmark for benchmark in BENCHMARKS.values() if not benchmark.panoptic]
    assert len(semantic) == len(BENCHMARKS) - 3
    assert code == 2 and "Absent: looked for" in errors and errors.count("looked for a folder") == len(semantic) - 2
    assert "-panoptic" not in errors, "this model gives no panoptic results"
    assert choose(["all"]) == tuple(BENCHMARKS.values())
    code, _, errors = run("--benchmarks", "Animals", "COCO-panoptic")
    assert code == 2 and "COCO-panoptic asks for panoptic results, and this model gives none" in errors

    code, out, errors = run("--benchmarks", "found")
    assert code == 0, errors
    assert list(stored(data)["measured"]) == ["Animals", "Things"]
    assert f"+ Animals: {data / 'animals'}" in out + errors
    assert f"- Absent: looked for a folder {data / 'absent'}" in out + errors

    (data / "animals").rename(data / "elsewhere")
    (data / "things").rename(data / "gone")
    code, _, errors = run("--benchmarks", "found")
    assert code == 2 and "no benchmark's data was found" in errors and "- Animals: looked for" in errors


BENCHMARKS_OF_TWO = """
_base_ = [{config!r}]
custom_imports = dict(imports=["hclip_mmseg", "benchmarks_of_two"], allow_failed_imports=False)
"""
MODULE_OF_TWO = """
from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.benchmarks import BENCHMARKS

BENCHMARKS.update({entries})
"""


def test_several_processes_measure_what_one_does(data, config, checkpoint, repository, monkeypatch):
    """All three are processes of their own, in which a config's module makes the benchmarks known."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    folder, names = data.parent, ("Animals", "Things")
    entries = {name: BENCHMARKS[name] for name in names}
    (folder / "benchmarks_of_two.py").write_text(MODULE_OF_TWO.format(entries=entries))
    (folder / "two.py").write_text(BENCHMARKS_OF_TWO.format(config=str(config)))
    command = (
        repository / "tools/test.py", folder / "two.py", checkpoint, "--benchmarks", *names, "--data-root", data,
        "--work-dir",
    )  # fmt: skip
    ended = run_script(*command, folder / "one", cwd=folder, modules=folder)
    assert ended.returncode == 0, ended.stderr[-3000:]
    torchrun(2, *command, folder / "two", cwd=folder, modules=folder)
    one, two = (json.loads((folder / f"{count}/benchmarks/tiny.json").read_text()) for count in ("one", "two"))
    assert two["runs"][0]["processes"] == 2
    for name in names:
        assert two["measured"][name]["metrics"] == one["measured"][name]["metrics"]
        assert two["measured"][name]["classes"] == one["measured"][name]["classes"]


def pipeline_of(data, **wishes):
    return ready(choose(["Animals"]), data, wishes=wishes)[0].dataloader["dataset"]["pipeline"]


def test_what_a_model_wants_done_to_images(data):
    resize = dict(type="Resize", scale=(40, 32), keep_ratio=False)
    pipeline = pipeline_of(data, benchmark_transforms=[resize])
    assert [step["type"] for step in pipeline] == ["LoadImageFromFile", "Resize", "LoadAnnotations", "PackSegInputs"]
    image, labels = loaded(pipeline, data / "animals")
    assert image == (3, 32, 40) and labels == (1, 64, 80), "labels keep their size"

    larger = pipeline_of(data, benchmark_transforms=[dict(resize, scale=(80, 64))])
    assert [step["scale"] for step in larger if step["type"] == "Resize"] == [(80, 64)]

    of_its_own = [pipeline[0], dict(resize, scale=(16, 16)), *pipeline[2:]]
    both = pipeline_of(data, benchmark_pipeline=of_its_own, benchmark_transforms=[resize])
    assert [step.get("scale") for step in both] == [None, (16, 16), None, None], "one Resize is enough"

    by_name = dict(Animals=[dict(resize, scale=(24, 24))], default=[resize])
    assert pipeline_of(data, benchmark_transforms=by_name)[1]["scale"] == (24, 24)
    assert pipeline_of(data, benchmark_transforms=dict(default=[resize]))[1]["scale"] == (40, 32)


def test_a_benchmark_s_own_loader_and_sizes():
    def steps_of(name, **wishes):
        dataset = Config.fromfile(BENCHMARKS[name].config_path).test_dataloader.dataset
        return pipeline_for(dataset.pipeline, name, wishes)

    def sizes(pipeline):
        return [step.short_side for step in pipeline if step.type.endswith("PublishedResize")]

    larger = [ConfigDict(type="mmseg.PublishedResize", short_side=800, max_size=1333)]
    for name in ("COCO-Stuff", "PC-459", "A-150"):
        assert sizes(steps_of(name, benchmark_transforms=larger)) == [800], f"not that of {name}'s own config too"
        assert sizes(steps_of(name, benchmark_transforms=[])) == []
    own = [ConfigDict(type="LoadImageFromFile"), ConfigDict(type="CLIPCrop", size=224)]
    kinds = [step.type for step in steps_of("A-847", benchmark_pipeline=own)]
    assert kinds == ["mmseg.LoadReducedImageFromFile", "CLIPCrop"], "A-847's images are reduced copies for every model"
    assert steps_of("A-150", benchmark_pipeline=own) == own


def test_options_of_a_pipeline_that_is_replaced_are_refused(data):
    options = {"test_dataloader.dataset.pipeline.1.whole": True}
    wishes = dict(benchmark_pipeline=[dict(type="LoadImageFromFile")])
    with pytest.raises(ValueError, match="own test data alone.* give benchmark_pipeline.1.whole too"):
        ready(choose(["Animals"]), data, options, wishes)
    assert ready(choose(["Animals"]), data, {**options, "benchmark_pipeline.1.whole": True}, wishes)


def test_the_config_s_own_settings_hold_for_its_own_data(data):
    benchmark = Config.fromfile(BENCHMARKS["Animals"].config_path).to_dict()
    own = dict(benchmark["test_dataloader"], batch_size=3)
    evaluator = dict(type="OpenVocabIoUMetric", iou_metrics=["mDice"])
    wishes = dict(test_dataloader=own, test_evaluator=evaluator, benchmark_pipeline=[dict(type="LoadImageFromFile")])
    animals, things = ready(choose(["Animals", "Things"]), data, wishes=wishes)
    assert animals.dataloader["batch_size"] == 3 and animals.evaluator == evaluator
    assert animals.dataloader["dataset"]["data_root"] == str(data / "animals")
    assert things.dataloader["batch_size"] == 1 and len(things.dataloader["dataset"]["pipeline"]) == 1


def loaded(pipeline, folder):
    dataset = DATASETS.build(
        dict(
            type="BaseSegDataset", data_root=str(folder), pipeline=pipeline, metainfo=dict(classes=ANIMALS),
            data_prefix=dict(img_path="images", seg_map_path="labels"),
        )
    )  # fmt: skip
    sample = dataset[0]
    return tuple(sample["inputs"].shape), tuple(sample["data_samples"].gt_sem_seg.data.shape)


CLOSED = """
_base_ = [{base!r}]
model = dict(_delete_=True, type="EncoderDecoder", data_preprocessor=dict(type="SegDataPreProcessor"),
             backbone=dict(type="ResNetV1c", depth=18, num_stages=4, out_indices=(0,)),
             decode_head=dict(type="FCNHead", in_channels=64, in_index=0, channels=8, num_classes=6, num_convs=1,
                              loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True)))
"""


def test_a_closed_list_of_classes_is_refused(run, config, tmp_path):
    path = tmp_path / "closed.py"
    path.write_text(CLOSED.format(base=str(config)))
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(path).model).state_dict()), tmp_path / "closed.pth")
    code, _, errors = run("--benchmarks", "Animals", config=path, model=tmp_path / "closed.pth")
    assert code == 2 and "EncoderDecoder has a closed list of classes" in errors
