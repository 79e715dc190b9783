"""The arithmetic of inference: bfloat16 where it is asked for, and the faster matrix product of a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from hclip_mmseg.models import onednn

BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Linux calls arithmetic in bfloat16 of CPUs: x86's two kinds, and Arm's."""
PROCESSORS = Path("/proc/cpuinfo")


def computes_bf16(device: torch.device, processors: Path = PROCESSORS) -> bool:
    """Whether a device has arithmetic in bfloat16, and does not only imitate it; of CPUs Linux alone tells.

    Args:
        device: on which a model runs.
        processors: the system's description of its CPUs.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not processors.is_file():
        return False
    lines = processors.read_text().splitlines()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return bool(BF16_FLAGS & set(flags.split()))


@contextmanager
def inference_arithmetic(device: torch.device, bf16: bool = False) -> Iterator[None]:
    """The arithmetic that a model predicts in.

    Args:
        device: on which it runs.
        bf16: whether products and convolutions run in bfloat16, by autocast.
    """
    if bf16:
        with torch.autocast(device.type, torch.bfloat16):
            yield
    elif device.type == "cpu" and torch.backends.mkldnn.enabled and onednn.is_faster(torch.get_num_threads()):
        with onednn.OneDNNProducts():
            yield
    else:
        yield
