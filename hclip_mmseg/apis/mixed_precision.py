"""Training and prediction in 16 bits: what ``--amp`` of the commands asks for."""

from __future__ import annotations

import torch
from mmengine.config import Config
from torch import nn

from hclip_mmseg.files.showing import with_article
from hclip_mmseg.models.arithmetic import computes_bf16
from hclip_mmseg.models.open_vocab_model import OpenVocabModel


def use_mixed_precision(cfg: Config) -> None:
    """Train in bf16 on CPUs and on GPUs that have it, in fp16 with loss scaling on other GPUs.

    Raises:
        ValueError: if the config already has an optimizer wrapper of its own kind.
    """
    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    if kind.removeprefix("mmseg.") in ("AmpOptimWrapper", "BF16OptimWrapper"):
        return
    if kind != "OptimWrapper":
        raise ValueError(f"--amp works with optim_wrapper.type 'OptimWrapper', and the config has '{kind}'")
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        cfg.optim_wrapper.update(type="AmpOptimWrapper", dtype="float16", loss_scale="dynamic")
    else:
        cfg.optim_wrapper.type = "mmseg.BF16OptimWrapper"


def predict_in_bf16(model: nn.Module) -> None:
    """Let a model predict in bfloat16 where its device has it; elsewhere say so, and it predicts as before.

    Raises:
        ValueError: if it is no open-vocabulary model.
    """
    if not isinstance(model, OpenVocabModel):
        kind = with_article(type(model).__name__)
        raise ValueError(f"--amp is for this project's models: {kind} is tested as its config says")
    device = next(model.parameters()).device
    if computes_bf16(device):
        model.bf16 = True
    else:
        print(f"--amp changes nothing: the {device.type} here has no arithmetic in bfloat16, where it would be slower")
