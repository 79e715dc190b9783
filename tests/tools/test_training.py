"""Training in parts, and by several processes, is the same training."""

import socket

import pytest
import torch
from miniature import run_script, write_tiny_config
from mmengine.config import Config
from mmengine.runner import Runner


def train(config, work_dir, iterations, **changes):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict({"work_dir": str(work_dir), "train_cfg.max_iters": iterations, **changes})
    cfg.experiment_name = f"{work_dir.parent.name} {work_dir.name} {iterations}"
    Runner.from_cfg(cfg).train()
    return weights_of(work_dir / f"iter_{iterations}.pth")


def weights_of(path):
    return torch.load(path, map_location="cpu", weights_only=False)["state_dict"]


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
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    program += f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    ended = run_script(tmp_path / "killed.py", *options, cwd=tmp_path, script=("-c", program))
    assert ended.returncode == -9, ended.stderr[-2000:]
    assert not (work / "iter_3.pth").exists()
    weights_of(work / "iter_2.pth")
    assert (work / "last_checkpoint").read_text() == str(work / "iter_2.pth")
    ended = run_script(script, config, "--resume", *options, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    whole = train(config, tmp_path / "whole", 4)
    resumed = weights_of(work / "iter_4.pth")
    assert {path.name for path in work.glob("iter_*")} == {"iter_4.pth"}
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_accumulated_gradients_equal_a_larger_batch(tiny_config, coco_stuff, tmp_path):
    whole = train(tiny_config, tmp_path / "whole", 3)
    half = write_tiny_config(tmp_path / "half.py", coco_stuff, batch=2)
    parts = train(half, tmp_path / "parts", 6, **{"optim_wrapper.accumulative_counts": 2})
    assert_same_weights(parts, whole)


def test_bf16_trains_on_the_cpu(tiny_config, tmp_path):
    exact = train(tiny_config, tmp_path / "fp32", 2)
    mixed = train(tiny_config, tmp_path / "bf16", 2, **{"optim_wrapper.type": "BF16OptimWrapper"})
    start = train(tiny_config, tmp_path / "frozen", 1, **{"optim_wrapper.optimizer.lr": 0.0})
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


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_train_as_one(tiny_config, coco_stuff, repository, tmp_path, port, processes):
    one = train(tiny_config, tmp_path / "one", 3)
    half = write_tiny_config(tmp_path / "half.py", coco_stuff, batch=4 // processes)
    launcher = ("-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={port}")
    ended = run_script(
        repository / "tools/train.py", half, "--work-dir", tmp_path / "two", "--launcher", "pytorch",
        cwd=tmp_path, script=launcher,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    for iteration in (1, 2):
        name = f"iter_{iteration}.pth"
        assert_same_weights(weights_of(tmp_path / "two" / name), weights_of(tmp_path / "one" / name))
    two = weights_of(tmp_path / "two/iter_3.pth")
    start = train(tiny_config, tmp_path / "start", 1, **{"optim_wrapper.optimizer.lr": 0.0})
    assert any((one[name] - start[name]).abs().max() > 1e-3 for name in one), "nothing was learned"
    assert_same_weights(two, one)

    tested = run_script(
        repository / "tools/test.py", half, tmp_path / "two/iter_3.pth", "--launcher", "pytorch",
        "--work-dir", tmp_path / "tested", cwd=tmp_path, script=launcher,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stderr[-3000:]
    assert "mIoU" in tested.stdout + tested.stderr


SHARDED = """
_base_ = ["./half.py"]
runner_type = "FlexibleRunner"
strategy = dict(type="ShardedStrategy")
custom_hooks = [dict(type="DCRCHook", interval=2), dict(type="VocabularyHook")]
"""


def test_fsdp_trains_as_one_process_and_its_checkpoints_are_whole(tiny_config, coco_stuff, repository, tmp_path, port):
    one = train(tiny_config, tmp_path / "one", 3)
    write_tiny_config(tmp_path / "half.py", coco_stuff, batch=2)
    sharded = tmp_path / "sharded.py"
    sharded.write_text(SHARDED)
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}")

    def run(*arguments):
        ended = run_script(
            repository / "tools/train.py", sharded, "--work-dir", tmp_path / "fsdp", "--launcher", "pytorch",
            *arguments, cwd=tmp_path, script=launcher,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-3000:]

    run("--cfg-options", "train_cfg.max_iters=2")
    run("--resume")
    checkpoint = tmp_path / "fsdp/iter_3.pth"
    assert_same_weights(weights_of(checkpoint), one)
    tested = run_script(
        repository / "tools/test.py", sharded, checkpoint, "--work-dir", tmp_path / "tested", cwd=tmp_path
    )
    assert tested.returncode == 0, tested.stderr[-3000:]
    assert "mIoU" in tested.stdout + tested.stderr
