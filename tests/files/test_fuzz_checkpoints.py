"""Damaged files of every form end in a result or in one ValueError, and never in anything else."""

from __future__ import annotations

import io
import random

import pytest
import torch
from damage import damaged
from safetensors.torch import save
from torch import nn

from hclip_mmseg.files.checkpoints import load

ROUNDS = 150


def saved(form: str) -> bytes:
    torch.manual_seed(0)
    file, state = io.BytesIO(), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).state_dict()
    if form == "safetensors":
        return save(state)
    if form == "torch_script":
        torch.jit.save(torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))), file)
    else:
        torch.save({"state_dict": state, "meta": {"iter": 1}}, file, _use_new_zipfile_serialization=form == "archive")
    return file.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["archive", "legacy", "safetensors", "torch_script"])
def test_damaged_files_are_read_or_refused(form):
    whole, refused = saved(form), 0
    load(io.BytesIO(whole))
    for number, content in enumerate(damaged(whole, random.Random(form), ROUNDS)):
        try:
            load(io.BytesIO(content))
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error), f"{form} {number}"
    assert refused > ROUNDS * 2


@pytest.mark.parametrize(
    "content", [b"", b"P", b"PK\3\4", b"{}", b"\x80\2.", b"hello\n" * 99, b"\0" * 999, b"\x89PNG\r\n"]
)
def test_files_of_other_kinds_are_refused(content):
    with pytest.raises(ValueError, match="the checkpoint"):
        load(io.BytesIO(content))
