"""A run goes on from any of its checkpoints bit for bit, with the COCO-Stuff config's own data and schedule."""

from __future__ import annotations

import pytest
import torch
from miniature import REPOSITORY
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from tiny_models import HEAD, PREPROCESSOR, backbone_config

ITERATIONS = 4


@HOOKS.register_module(force=True)
class Losses(Hook):
    """Writes down every step's loss and what it was computed from."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.seen.append((outputs["loss"].item(), int(sum(image.long().sum() for image in data_batch["inputs"]))))


def run(work_dir, data_root, **changes) -> Runner:
    """The run of hclip_vitb16_coco-stuff.py with a tiny model, crops of 64 and a short schedule."""
    config = Config.fromfile(REPOSITORY / "configs/hclip/hclip_vitb16_coco-stuff.py")
    config.model = dict(
        type="OpenVocabSegmentor",
        data_preprocessor=PREPROCESSOR,
        backbone=backbone_config(checkpoint_text=True),
        text_encoder=dict(type="TextEncoderNeck"),
        decode_head=HEAD,
        train_cfg=dict(sampled_names=8),
    )
    loader = config.train_dataloader
    loader.update(batch_size=2, num_workers=1, persistent_workers=True)
    loader.dataset.data_root = str(data_root)
    kinds = [step.type for step in loader.dataset.pipeline]
    loader.dataset.pipeline[kinds.index("PublishedResize")].short_side = 64
    loader.dataset.pipeline[kinds.index("RandomCrop")].crop_size = (64, 64)
    for part in ("val_dataloader", "val_cfg", "val_evaluator", "test_dataloader", "test_cfg", "test_evaluator"):
        config[part] = None
    config.train_cfg = dict(type="IterBasedTrainLoop", max_iters=ITERATIONS)
    config.param_scheduler[0].update(end=ITERATIONS, T_max=ITERATIONS)
    config.optim_wrapper.optimizer.lr = 0.01
    config.randomness = dict(seed=0, deterministic=True)
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
    config.custom_hooks = [*config.get("custom_hooks", []), dict(type="Losses")]
    config.log_level, config.work_dir = "ERROR", str(work_dir)
    config.experiment_name = f"{work_dir.parent.name} {work_dir.name}"
    config.merge_from_dict(changes)
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def losses(runner: Runner) -> list[tuple[float, int]]:
    return next(hook for hook in runner.hooks if isinstance(hook, Losses)).seen


def assert_equal(one, other, where="") -> None:
    """Bit for bit, through dicts and lists."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_equal(left, right, f"{where}[{number}]")
    else:
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, where


@pytest.fixture(scope="module")
def whole(tmp_path_factory, coco_stuff) -> Runner:
    return run(tmp_path_factory.mktemp("whole") / "run", coco_stuff)


def state_at_the_end(runner: Runner) -> dict:
    saved = torch.load(f"{runner.work_dir}/iter_{ITERATIONS}.pth", map_location="cpu", weights_only=False)
    return {part: saved[part] for part in ("state_dict", "optimizer", "param_schedulers")}


def test_the_run_is_random_and_learns(whole):
    images = [image for _, image in losses(whole)]
    assert len(set(images)) == ITERATIONS, "crops, colours and order are drawn at random"
    first = torch.load(f"{whole.work_dir}/iter_1.pth", map_location="cpu", weights_only=False)["state_dict"]
    last = state_at_the_end(whole)["state_dict"]
    assert not torch.equal(first["backbone.adapter.tensor"], last["backbone.adapter.tensor"])


@pytest.mark.parametrize("iteration", range(1, ITERATIONS))
def test_any_checkpoint_leads_to_the_same_end(whole, coco_stuff, tmp_path, iteration):
    start = f"{whole.work_dir}/iter_{iteration}.pth"
    resumed = run(tmp_path / "run", coco_stuff, resume=True, load_from=start)
    assert losses(resumed) == losses(whole)[iteration:]
    assert_equal(state_at_the_end(resumed), state_at_the_end(whole))


def run_by_epochs(work_dir, data_root, **changes) -> Runner:
    """Two epochs of four images, in batches of two."""
    epochs = {
        "train_cfg": dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=2),
        "train_dataloader.dataset.indices": 4,
        "default_hooks.checkpoint.by_epoch": True,
        "param_scheduler": None,
    }
    return run(work_dir, data_root, **epochs, **changes)


def test_epochs_end_and_a_run_goes_on_from_each(coco_stuff, tmp_path):
    through = run_by_epochs(tmp_path / "through", coco_stuff)
    assert (through.epoch, through.iter, len(losses(through))) == (2, 4, 4)
    start = f"{tmp_path}/through/epoch_1.pth"
    resumed = run_by_epochs(tmp_path / "resumed", coco_stuff, resume=True, load_from=start)
    assert losses(resumed) == losses(through)[2:]
    last, other = (torch.load(tmp_path / name / "epoch_2.pth", weights_only=False) for name in ("through", "resumed"))
    assert_equal(*({part: saved[part] for part in ("state_dict", "optimizer")} for saved in (last, other)))
