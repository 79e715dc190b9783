"""Good files are read as they were saved; damaged ones are refused."""

from __future__ import annotations

import random
import struct
import threading

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from safetensors.torch import save_file
from torch import nn

from hclip_mmseg.files.checkpoints import check_fits, load, read_state_dict
from hclip_mmseg.files.state_dicts import compare, not_finite, without_shared_prefix
from hclip_mmseg.files.tensors import read_tensors


class Block(nn.Module):
    """Parameters, buffers, a tensor that is neither, and children."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2).to(dtype)
        self.norm = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.randn(2, 3, dtype=dtype).t())
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("empty", torch.zeros(0, 2, dtype=dtype))
        self.mask = torch.full((2, 2), float("-inf"))
        self.sizes = [1, 2, 3]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.mask.sum() + self.sizes[0]


class Tied(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(dtype), Block(dtype))
        self.token = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.token.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_torch_script_archive_reads_like_torch_jit_without_its_code(dtype, tmp_path):
    path = str(tmp_path / "scripted.pt")
    torch.jit.script(Tied(dtype)).save(path)
    expected = torch.jit.load(path).state_dict()
    found = read_tensors(path)
    assert found.keys() == expected.keys() and not any("mask" in name for name in found)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name
    assert found["token.weight"].data_ptr() == found["head.weight"].data_ptr()


def saved_by_mmengine(path):
    hub = MessageHub(f"hub of {path.name}")
    for loss in (2.0, 1.0):
        hub.update_scalar("train/loss", torch.tensor(loss))
    hub.update_info("best", np.float64(0.5))
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    torch.save(
        dict(
            meta=dict(iter=2, dataset_meta=dict(classes=("a",), palette=np.zeros((1, 3), np.uint8))),
            state_dict=model.state_dict(), optimizer=optimizer.state_dict(), message_hub=hub.state_dict(),
        ), path,
    )  # fmt: skip
    return model


def test_a_runners_checkpoint_is_read_with_its_history_and_can_be_saved_again(tmp_path):
    model = saved_by_mmengine(tmp_path / "iter_2.pth")
    loaded = load(tmp_path / "iter_2.pth")
    torch.save(loaded, tmp_path / "again.pth")
    for content in (loaded, load(tmp_path / "again.pth")):
        history = content["message_hub"]["log_scalars"]["train/loss"]
        assert type(history) is HistoryBuffer
        assert (history.current(), history.mean(), history.statistics("min")) == (1.0, 1.5, 1.0)
        assert content["message_hub"]["runtime_info"]["best"] == 0.5
        assert content["meta"]["dataset_meta"]["palette"].shape == (1, 3)
        check_fits(model, content["state_dict"], "iter_2.pth")
        assert set(content["optimizer"]["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}


def test_histories_do_not_bring_functions_with_them(tmp_path):
    """MMEngine's own reading would put them among the statistics of all buffers."""
    history = HistoryBuffer([1.0], [1])
    history._statistics_methods = {"mean": torch.Size}
    torch.save({"state_dict": {}, "history": history}, tmp_path / "odd.pth")
    assert load(tmp_path / "odd.pth")["history"].statistics("mean") == 1.0
    assert HistoryBuffer._statistics_methods["mean"] is HistoryBuffer.mean


@pytest.mark.parametrize("form", ["archive", "safetensors"])
def test_changed_bytes_are_noticed(form, tmp_path):
    path, chosen = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth"), random.Random(0)
    state = {f"layer{i}.weight": torch.randn(64, 64) for i in range(4)}
    save_file(state, path) if form == "safetensors" else torch.save({"state_dict": state}, path)
    whole = path.read_bytes()
    for _ in range(30):
        damaged = bytearray(whole)
        header = 8 + struct.unpack("<Q", whole[:8])[0]
        end = header if form == "safetensors" else len(whole) * 9 // 10  # safetensors' numbers have no checksum
        for _ in range(20):
            damaged[chosen.randrange(8 if form == "safetensors" else len(whole) // 10, end)] ^= 255
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged one|holds|is not read"):
            read_state_dict(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.float8_e5m2])
def test_numbers_that_are_none_are_named(value, dtype, tmp_path):
    odd = torch.ones(3, 2).to(dtype)
    odd[1, 1] = value
    torch.save({"state_dict": {"a": torch.ones(2), "b.weight": odd}}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=rf"x\.pth: b\.weight holds {value}"):
        load(tmp_path / "x.pth")
    assert not_finite("a", torch.ones(0)) is None and not_finite("a", torch.ones(2, dtype=torch.long)) is None


def test_masks_may_hold_minus_infinity_alone():
    assert not_finite("x.attn_mask", torch.tensor([0.0, -torch.inf])) is None
    assert not_finite("x.attn_mask", torch.tensor([torch.inf, -torch.inf])) == torch.inf


def test_entries_that_are_no_tensors_of_a_model_are_named(tmp_path):
    odd = {
        "called 3, no string": {3: torch.ones(1)},
        "more numbers than the file": {"w": torch.ones(1).expand(1 << 40)},
        "no plain tensor": {"w": torch.ones(2, device="meta")},
    }
    for text, state in odd.items():
        torch.save({"state_dict": state}, tmp_path / "x.pth")
        with pytest.raises(ValueError, match=text):
            load(tmp_path / "x.pth")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "ema."])
def test_prefixes_that_all_names_share_are_dropped_and_said(prefix, caplog, tmp_path):
    state = nn.Linear(2, 2).state_dict()
    torch.save({"state_dict": {f"{prefix}{name}": value for name, value in state.items()}}, tmp_path / "x.pth")
    assert read_state_dict(tmp_path / "x.pth").keys() == state.keys()
    assert f"all names begin with '{prefix}', which is dropped" in caplog.text
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert without_shared_prefix(mixed, "x").keys() == mixed.keys()
    assert without_shared_prefix({}, "x") == {}


def test_differences_are_told_in_one_sentence():
    own, other = nn.Linear(2, 3).state_dict(), nn.Linear(4, 3).state_dict()
    assert not compare(own, own)
    del other["bias"]
    found = str(compare(own, {**other, "odd": torch.ones(1)}))
    assert found == (
        "1 tensors have another shape (weight is [3, 4] there and [3, 2] in the model); it lacks 1 tensors (bias); "
        "it has 1 tensors that the model does not (odd)"
    )


def test_threads_may_read_beside_each_other(tmp_path):
    saved_by_mmengine(tmp_path / "iter_2.pth")
    failed: list[Exception] = []

    def read():
        try:
            for _ in range(20):
                load(tmp_path / "iter_2.pth")
        except Exception as error:  # noqa: BLE001 (what went wrong is shown below)
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
