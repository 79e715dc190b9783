"""Count what FISA's image tower costs in each form of tuning: python tools/fisa_costs.py [--model ViT-L-14-336].

Nothing is computed: operations are counted on tensors without memory, at the real sizes, in a minute.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from rich.console import Console
from rich.table import Table
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from hclip_mmseg.apis import launch
from hclip_mmseg.mask_classification.fisa import FISACLIP

ROWS: Mapping[str, dict[str, Any]] = {
    "baseline (frozen)": dict(tuning="none"),
    "+ SEVE": dict(tuning="none", seve={}, distribution_adapter={}),
    "+ SEVE + full tuning": dict(tuning="full", seve={}, distribution_adapter={}),
    "+ SEVE + LoRA 64": dict(tuning=dict(type="LoRA", rank=64), seve={}, distribution_adapter={}),
    "FISA": dict(tuning="queries", seve={}, distribution_adapter={}),
}


class Cost(NamedTuple):
    """Of one image: multiply-adds counted as two operations, bytes kept from the forward pass for the backward."""

    trained: int
    forward: int
    backward: int
    kept: int


def cost(settings: Mapping[str, Any], model: str, resolution: int, names: int, proposals: int) -> Cost:
    """Counts a training step of the image tower (inference is its forward pass), text embeddings given."""
    # fake tensors rather than meta ones, for these go through the fused attention that a run uses
    with FakeTensorMode():
        clip = FISACLIP(clip=dict(model=model), resolution=resolution, **settings)
        image = torch.empty(1, 3, resolution, resolution)
        masks = torch.empty(1, proposals, 256, 256)  # a crop of 1024 at stride 4
        text = torch.empty(names, clip.embed_dim)
        kept: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage
            return tensor

        own = {parameter.untyped_storage()._cdata for parameter in clip.parameters()}
        with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda x: x):
            embeddings = clip(image, clip.adapt(masks), text)
            forward = counter.get_total_flops()
        number_of_bytes = sum(storage.nbytes() for key, storage in kept.items() if key not in own)
        with FlopCounterMode(display=False) as counter:
            if embeddings.requires_grad:
                embeddings.sum().backward()
            backward = counter.get_total_flops()
    return Cost(sum(clip.trained_parts().values()), forward, backward, number_of_bytes)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count what FISA's image tower costs in each form of tuning.")
    parser.add_argument("--model", default="ViT-L-14-336", help="name of open_clip (ViT-L-14-336)")
    parser.add_argument("--resolution", type=int, default=896, help="side of the square that CLIP sees (896)")
    parser.add_argument("--names", type=int, default=133, help="class tokens (133)")
    parser.add_argument("--proposals", type=int, default=100, help="masks (100)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    title = f"{args.model} at {args.resolution}, {args.names} names, {args.proposals} proposals, one image, fp32"
    table = Table("row", "trained, M", "forward, TFLOP", "backward, TFLOP", "kept for backward, GiB", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    with launch.clear_errors():
        for name, settings in ROWS.items():
            found = cost(settings, args.model, args.resolution, args.names, args.proposals)
            table.add_row(
                name,
                f"{found.trained / 1e6:.2f}",
                f"{found.forward / 1e12:.3f}",
                f"{found.backward / 1e12:.3f}",
                f"{found.kept / 2**30:.2f}",
            )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
