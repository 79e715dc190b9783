"""Training, resuming and evaluation of the COCO-panoptic config, by the scripts."""

from __future__ import annotations

import json
import time
from functools import partial

import numpy as np
import pytest
import torch
from miniature_panoptic import as_colours, scene, write_panoptic
from mmengine.config import Config
from PIL import Image
from processes import run_as_main, start
from tiny_mask_models import CONFIGS, fisa_config, tiny_fisa

from hclip_mmseg.compat.panoptic_api import rgb2id

ABSENT = "model.generator.init_cfg.checkpoint=absent.pth"
"""The generator's own checkpoint, which a checkpoint of the whole model makes superfluous."""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """FISA's config of COCO panoptic with a random tiny CLIP and generator on the miniature data, two steps."""
    root = write_panoptic(tmp_path_factory.mktemp("data") / "coco")
    checkpoint = tmp_path_factory.mktemp("proposals") / "mask2former.pth"
    torch.save(dict(state_dict=tiny_fisa(seed=3).generator.state_dict()), checkpoint)
    cfg = Config.fromfile(CONFIGS / "fisa/fisa_vitl14-336_swin-b_coco-panoptic.py")
    cfg.model = dict(fisa_config(), test_cfg=dict(object_threshold=0.0, overlap_threshold=0.0))
    cfg.model.generator.init_cfg = dict(type="Pretrained", checkpoint=str(checkpoint))
    cfg.model.data_preprocessor.batch_augments = None
    sizes = dict(RandomResize=dict(scale=(64, 64)), RandomCrop=dict(crop_size=(64, 64)), Resize=dict(scale=(80, 64)))
    for split, loader in (("train", cfg.train_dataloader), ("val", cfg.val_dataloader), ("val", cfg.test_dataloader)):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(
            data_root=str(root), ann_file=f"panoptic_{split}.json", vocabulary=None, filter_cfg=None,
            data_prefix=dict(img=f"{split}/", seg=f"panoptic_{split}/"),
        )  # fmt: skip
        for step in loader.dataset.pipeline:
            step.update(sizes.get(step.type, {}))
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.optim_wrapper.optimizer.lr = 1e-2
    cfg.default_hooks.checkpoint.interval = 1
    cfg.default_hooks.logger.interval = 1
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    cfg.dump(path)
    return path


def script(name: str, *arguments: object, folder) -> tuple[int, str]:
    """A script of the repository in a process of its own: its exit status, and all that it printed."""
    log = folder / f"printed_{time.monotonic_ns()}.txt"
    command = [str(CONFIGS.parent / "tools" / name), *map(str, arguments)]
    return start(partial(run_as_main, command), log).wait(), log.read_text()


def weights_of(path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location="cpu", weights_only=False)["state_dict"]


def qualities(printed: str) -> list[str]:
    """What was measured, evaluation by evaluation."""
    lines = [line for line in printed.splitlines() if "coco_panoptic/PQ:" in line]
    return [line[line.index("coco_panoptic/PQ:") :].split("  data_time")[0] for line in lines]


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    """The folder of a finished run of two steps, and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    status, printed = script("train.py", config, "--work-dir", folder, folder=folder)
    assert status == 0, printed[-3000:]
    return folder, printed


def test_trains_what_is_named_and_evaluates(run):
    folder, printed = run
    assert len(qualities(printed)) == 1 and "mIoU:" in qualities(printed)[0] and "RQ_st:" in qualities(printed)[0]
    first, second = (weights_of(folder / f"iter_{step}.pth") for step in (1, 2))
    moved = {name for name in first if not torch.equal(first[name], second[name])}
    own = ("backbone.mask_tokens.seve.", "backbone.mask_tokens.queries.", "backbone.distribution_adapter.", "classes.")
    assert moved == {name for name in first if name.startswith(own)}
    proposals = tiny_fisa(seed=3).generator.state_dict()
    assert all(torch.equal(second[f"generator.{name}"], tensor) for name, tensor in proposals.items())


def test_a_missing_checkpoint_of_the_proposals_is_one_error_before_any_work(run, config, tmp_path):
    torch.save(dict(state_dict={"classes.void": torch.zeros(1, 32)}), tmp_path / "part.pth")
    options = ("--work-dir", tmp_path, "--cfg-options", ABSENT, f"load_from={tmp_path / 'part.pth'}")
    status, printed = script("train.py", config, *options, folder=tmp_path)
    assert status == 2 and "Traceback" not in printed
    assert printed.startswith("error: this run cannot start:\n  - the proposals' checkpoint absent.pth is not there")

    whole = f"load_from={run[0] / 'iter_2.pth'}"
    status, printed = script("train.py", config, *options[:-1], whole, "train_cfg.max_iters=1", folder=tmp_path)
    assert status == 0, printed[-3000:]
    before, after = weights_of(run[0] / "iter_2.pth"), weights_of(tmp_path / "iter_1.pth")
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("generator."))


def test_resuming_is_no_interruption(run, config, tmp_path):
    folder, _ = run
    options = (
        "--work-dir",
        tmp_path,
        "--resume",
        folder / "iter_1.pth",
        "--cfg-options",
        "val_dataloader.num_workers=0",
        ABSENT,
    )
    status, printed = script("train.py", config, *options, folder=tmp_path)
    assert status == 0, printed[-3000:]
    whole, resumed = weights_of(folder / "iter_2.pth"), weights_of(tmp_path / "iter_2.pth")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_saved_model_is_evaluated_as_in_training(run, config, tmp_path):
    folder, printed = run
    written = ("--show-dir", tmp_path / "drawn", "--out", tmp_path / "maps")
    options = (folder / "iter_2.pth", "--work-dir", tmp_path, *written, "--cfg-options", ABSENT)
    status, tested = script("test.py", config, *options, folder=tmp_path)
    assert status == 0, tested[-3000:]
    assert qualities(tested) == qualities(printed)
    assert len(list((tmp_path / "drawn").rglob("*.png"))) == 3
    maps = [np.asarray(Image.open(path)) for path in (tmp_path / "maps").glob("*.png")]
    assert len(maps) == 3 and all(one.shape == (64, 80) and one.max() < 4 for one in maps)


def test_panoptic_benchmarks_are_evaluated_by_name(run, config, tmp_path):
    names = {"red star": "dog", "sky": "sky-other-merged"}
    for benchmark, json_file, images, maps in (
        ("coco", "annotations/panoptic_val2017.json", "val2017", "annotations/panoptic_val2017"),
        ("ade/ADEChallengeData2016", "ade20k_panoptic_val.json", "images/validation", "ade20k_panoptic_val"),
    ):
        source, target = write_panoptic(tmp_path / "made" / benchmark, images=1), tmp_path / "all" / benchmark
        content = json.loads((source / "panoptic_val.json").read_text())
        for category in content["categories"]:
            category["name"] = names.get(category["name"], category["name"])
        for file in (json_file, images, maps):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / json_file).write_text(json.dumps(content))
        (source / "val").rename(target / images)
        (source / "panoptic_val").rename(target / maps)
    options = ("--data-root", tmp_path / "all", "--cfg-options", "test_dataloader.num_workers=0")
    which = ("--benchmarks", "COCO-panoptic", "ADE20K-panoptic")
    status, printed = script(
        "test.py", config, run[0] / "iter_2.pth", "--work-dir", tmp_path, *which, *options, folder=tmp_path
    )
    assert status == 0, printed[-3000:]
    measured = json.loads((tmp_path / "benchmarks/iter_2.json").read_text())
    for name in which[1:]:
        found = {key.split("/")[-1]: value for key, value in measured["measured"][name]["metrics"].items()}
        assert {"PQ", "SQ", "RQ", "PQ_th", "PQ_st", "mIoU"} <= set(found)


def test_images_are_parted_into_words(config, tmp_path):
    Image.fromarray(as_colours(scene(0)[0] * 7919)).save(tmp_path / "image.png")
    model = tiny_fisa(noise=0)
    with torch.no_grad():  # or masks without training would be of nothing
        masks = torch.ones(1, 1, 16, 16)
        words = torch.randn(1, model.backbone.embed_dim)
        model.classes.void.copy_(-model.backbone(torch.zeros(1, 3, 64, 64), masks, words)[0])
        model.backbone.distribution_adapter.convolutions[1].bias += 9
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "trained.pth")
    common = (tmp_path / "image.png", "--config", config, "--checkpoint", tmp_path / "trained.pth")
    words = ("--vocab", "cat, star, grass", "--out-dir", tmp_path / "out", "--device", "cpu")
    status, printed = script("predict.py", *common, *words, "--panoptic", "--stuff", "grass", folder=tmp_path)
    assert status == 0, printed[-3000:]
    written = json.loads((tmp_path / "out/panoptic.json").read_text())
    listed = written["annotations"][0]["segments_info"]
    ids = rgb2id(np.asarray(Image.open(tmp_path / "out/panoptic/image.png")))
    assert ids.shape == (64, 80) and listed
    areas = {segment["id"]: segment["area"] for segment in listed}
    assert areas == {int(one): int((ids == one).sum()) for one in np.unique(ids[ids > 0])}
    about = [(category["name"], category["isthing"]) for category in written["categories"]]
    assert about == [("cat", 1), ("star", 1), ("grass", 0)]
    assert about[listed[0]["category_id"] - 1][0] in printed and (tmp_path / "out/image_overlay.png").is_file()

    status, printed = script("predict.py", *common, *words, folder=tmp_path)
    assert status == 0 and (tmp_path / "out/image_labels.png").is_file()
    status, printed = script("predict.py", *common, *words, "--panoptic", "--stuff", "sky", folder=tmp_path)
    assert status == 2 and "error: 'sky' is given as stuff, but is none of the 3 class names" in printed


def test_label_maps_of_other_images_are_one_error_before_any_work(run, config, tmp_path):
    root = write_panoptic(tmp_path / "coco")
    Image.fromarray(as_colours(scene(0)[0] + 1)).save(root / "panoptic_val/000002.png")
    options = ("--cfg-options", f"test_dataloader.dataset.data_root={root}")
    status, printed = script(
        "test.py", config, run[0] / "iter_2.pth", "--work-dir", tmp_path, *options, folder=tmp_path
    )
    last = printed.strip().splitlines()[-1]
    assert status == 2 and last.startswith("error: ") and "000002.png does not match its annotation file" in last
    assert "Traceback" not in printed
