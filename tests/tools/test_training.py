"""Training in parts, and by several processes, is the same training."""

import json

import pytest
import torch
from miniature import REPOSITORY, write_tiny_config
from mmengine.config import Config
from mmengine.runner import Runner
from processes import run_script, torchrun

from hclip_mmseg.apis.launch import build_trainer, distribute


def train(config, work_dir, iterations, **changes):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict({"work_dir": str(work_dir), "train_cfg.max_iters": iterations, **changes})
    cfg.experiment_name = f"{work_dir.parent.name} {work_dir.name} {iterations}"
    Runner.from_cfg(cfg).train()
    return weights_of(work_dir / f"iter_{iterations}.pth")


def train_alone(config, work_dir, *settings):
    """By the script, as the processes that it is compared with: on a GPU the same sums round in another way."""
    settings = ("--cfg-options", *settings) if settings else ()
    command = (REPOSITORY / "tools/train.py", config, "--work-dir", work_dir, *settings)
    ended = run_script(*command, cwd=work_dir.parent)
    assert ended.returncode == 0, ended.stderr[-3000:]


def weights_of(path):
    return torch.load(path, map_location="cpu", weights_only=False)["state_dict"]


@pytest.fixture(scope="module")
def alone(tiny_config, tmp_path_factory):
    """The folder of a run of three iterations by one process."""
    folder = tmp_path_factory.mktemp("alone") / "one"
    train_alone(tiny_config, folder)
    return folder


@pytest.fixture(scope="module")
def start(tiny_config, tmp_path_factory):
    """The weights that every run starts from."""
    return train(tiny_config, tmp_path_factory.mktemp("start") / "start", 1, **{"optim_wrapper.optimizer.lr": 0.0})


def test_resuming_is_no_interruption(tiny_config, tmp_path):
    whole = train(tiny_config, tmp_path / "whole", 4)
    train(tiny_config, tmp_path / "parts", 2)
    parts = train(tiny_config, tmp_path / "parts", 4, resume=True)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


KILLED = """
_base_ = ["./tiny.py"]
custom_imports = dict(imports=["hclip_mmseg", "killer"], allow_failed_imports=False)
"""
KILLER = """
import os, signal

from mmengine.fileio import LocalBackend

put = LocalBackend.put

def killed_while_writing(self, obj, filepath):
    if "iter_3.pth" in str(filepath):
        put(self, obj[: len(obj) // 2], filepath)
        os.kill(os.getpid(), signal.SIGKILL)
    put(self, obj, filepath)

LocalBackend.put = killed_while_writing
"""


def test_a_run_killed_while_it_saves_goes_on_from_the_checkpoint_before(coco_stuff, repository, tmp_path):
    config = write_tiny_config(tmp_path / "tiny.py", coco_stuff)
    (tmp_path / "killed.py").write_text(KILLED)
    (tmp_path / "killer.py").write_text(KILLER)
    work = tmp_path / "work"
    script = repository / "tools/train.py"
    options = (
        "--work-dir",
        work,
        "--cfg-options",
        "train_cfg.max_iters=4",
        "default_hooks.checkpoint.max_keep_ckpts=1",
    )
    ended = run_script(script, tmp_path / "killed.py", *options, cwd=tmp_path, modules=tmp_path)
    assert ended.returncode == -9, ended.stderr[-2000:]
    assert not (work / "iter_3.pth").exists()
    weights_of(work / "iter_2.pth")
    assert (work / "last_checkpoint").read_text() == str(work / "iter_2.pth")
    ended = run_script(script, config, "--resume", *options, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    options = ("--work-dir", tmp_path / "whole", *options[2:])  # a script too, as threads change the last bits
    ended = run_script(script, config, *options, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    whole, resumed = weights_of(tmp_path / "whole/iter_4.pth"), weights_of(work / "iter_4.pth")
    assert {path.name for path in work.glob("iter_*")} == {"iter_4.pth"}
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("wrapper, tolerance", [("OptimWrapper", 1e-4), ("BF16OptimWrapper", 0.02)])
def test_accumulated_gradients_equal_a_larger_batch(tiny_config, coco_stuff, start, tmp_path, wrapper, tolerance):
    changes = {"optim_wrapper.type": wrapper}
    whole = train(tiny_config, tmp_path / "whole", 3, **changes)
    half = write_tiny_config(tmp_path / "half.py", coco_stuff, batch=2)
    parts = train(half, tmp_path / "parts", 6, **changes, **{"optim_wrapper.accumulative_counts": 2})
    way = distance(whole, start)
    assert way > 0.1 and not torch.equal(whole["backbone.adapter.tensor"], start["backbone.adapter.tensor"])
    assert distance(parts, whole) < tolerance * way


def distance(one, other):
    return sum((one[name] - other[name]).double().square().sum() for name in one).sqrt()


def test_bf16_trains_on_the_cpu(tiny_config, start, tmp_path):
    exact = train(tiny_config, tmp_path / "fp32", 2)
    mixed = train(tiny_config, tmp_path / "bf16", 2, **{"optim_wrapper.type": "BF16OptimWrapper"})
    moved = {name for name in start if not torch.equal(start[name], exact[name])}
    assert moved
    for name in moved:
        assert mixed[name].dtype == torch.float32
        assert mixed[name].isfinite().all()
    assert any(not torch.equal(mixed[name], exact[name]) for name in moved), "autocast had no effect"


def assert_same_weights(found, expected):
    for name, tensor in expected.items():
        message = f"{name} differs by {(found[name] - tensor).abs().max():.2e}"
        torch.testing.assert_close(found[name], tensor, atol=2e-5, rtol=1e-4, msg=message)


def scalars(work_dir, name):
    """What was logged under a name, in order, over all runs in the folder."""
    lines = [line for file in sorted(work_dir.rglob("vis_data/scalars.json")) for line in file.open()]
    return [entry[name] for entry in map(json.loads, lines) if name in entry]


def test_torchrun_trains_and_tests_as_one_process(alone, coco_stuff, repository, tmp_path):
    half = write_tiny_config(tmp_path / "half.py", coco_stuff, batch=2)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    ended = run_script(
        repository / "tools/train.py", half, "--work-dir", tmp_path / "two", "--launcher", "pytorch",
        cwd=tmp_path, options=launcher,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert_same_weights(weights_of(tmp_path / "two/iter_3.pth"), weights_of(alone / "iter_3.pth"))
    torchrun(
        2, repository / "tools/test.py", half, tmp_path / "two/iter_3.pth", "--work-dir", tmp_path / "tested",
        cwd=tmp_path,
    )  # fmt: skip
    (log,) = (log for log in (tmp_path / "tested").rglob("*.log") if log.name != "setup.log")
    assert "mIoU" in log.read_text()


@pytest.mark.parametrize("processes, accumulated", [(2, 1), (4, 1), (2, 2)])
def test_several_processes_have_the_curve_of_one(
    alone, start, coco_stuff, repository, tmp_path, processes, accumulated
):
    part = write_tiny_config(tmp_path / "part.py", coco_stuff, batch=4 // processes // accumulated)
    torchrun(
        processes, repository / "tools/train.py", part, "--work-dir", tmp_path / "several", "--cfg-options",
        f"train_cfg.max_iters={3 * accumulated}", f"optim_wrapper.accumulative_counts={accumulated}", cwd=tmp_path,
    )  # fmt: skip
    for iteration in range(1, 4):
        several = weights_of(tmp_path / f"several/iter_{iteration * accumulated}.pth")
        assert_same_weights(several, weights_of(alone / f"iter_{iteration}.pth"))
    # logged losses are means over the iterations so far
    curve, expected = (
        scalars(tmp_path / "several", "loss")[accumulated - 1 :: accumulated],
        scalars(alone, "loss"),
    )
    assert curve == pytest.approx(expected, rel=1e-4)
    assert expected[2] < 0.95 * expected[0]
    trained = weights_of(alone / "iter_3.pth")
    assert not torch.equal(trained["backbone.adapter.tensor"], start["backbone.adapter.tensor"])


SHARDED = """
_base_ = ["./half.py"]
runner_type = "FlexibleRunner"
strategy = dict(type="ShardedStrategy")
optim_wrapper = dict(clip_grad=dict(max_norm=0.01))
custom_hooks = [dict(type="DCRCHook", interval=2), dict(type="VocabularyHook")]
model = dict(backbone=dict(checkpoint_text=True), decode_head=dict(training_chunk=6))
train_cfg = dict(val_interval=3)
val_cfg = dict(type="ValLoop")
val_evaluator = dict(type="OpenVocabIoUMetric", iou_metrics=["mIoU"])
val_dataloader = {{_base_.test_dataloader}}
"""


def test_fsdp_trains_as_one_process_and_its_checkpoints_are_whole(tiny_config, coco_stuff, repository, tmp_path):
    train_alone(tiny_config, tmp_path / "one", "optim_wrapper.clip_grad.max_norm=0.01")  # far below any step's norm
    write_tiny_config(tmp_path / "half.py", coco_stuff, batch=2)
    sharded = tmp_path / "sharded.py"
    sharded.write_text(SHARDED)
    options = (repository / "tools/train.py", sharded, "--work-dir", tmp_path / "fsdp")
    torchrun(2, *options, "--cfg-options", "train_cfg.max_iters=2", cwd=tmp_path)
    torchrun(2, *options, "--resume", cwd=tmp_path)
    checkpoint = tmp_path / "fsdp/iter_3.pth"
    assert_same_weights(weights_of(checkpoint), weights_of(tmp_path / "one/iter_3.pth"))
    tested = run_script(
        repository / "tools/test.py", sharded, checkpoint, "--work-dir", tmp_path / "tested", cwd=tmp_path
    )
    assert tested.returncode == 0, tested.stderr[-3000:]
    validated = scalars(tmp_path / "fsdp", "mIoU")
    assert len(validated) == 2 and f" mIoU: {validated[1]:.4f} " in tested.stdout + tested.stderr


def test_fsdp_alone_is_refused(tiny_config, coco_stuff, repository, tmp_path):
    write_tiny_config(tmp_path / "half.py", coco_stuff)
    cfg = Config.fromstring(SHARDED.replace("./half.py", str(tmp_path / "half.py")), ".py")
    cfg.launcher = "none"
    with pytest.raises(ValueError, match="ShardedStrategy shares the model among processes .* --launcher pytorch"):
        build_trainer(cfg)


def test_each_process_takes_a_gpu_for_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="2 processes on this machine, which shows 1 GPUs: .* start 1, or set"):
        distribute(Config(dict(launcher="pytorch")))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    distribute(Config(dict(launcher="pytorch")))  # MMEngine goes on
