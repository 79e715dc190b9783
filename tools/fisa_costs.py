"""Count what FISA costs in each form of tuning: python tools/fisa_costs.py [--model ViT-L-14-336] [--images 400000].

CLIP's image tower is not computed: operations are counted on tensors without memory, at the real sizes, in a minute. Of
the mask generator the heads are run once, since deformable attention reads the sizes of its maps.
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
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement
from mmseg.registry import MODELS
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
GENERATOR = "configs/fisa/fisa_vitl14-336_swin-b_coco-panoptic.py"
CROP = 1024


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
        masks = torch.empty(1, proposals, CROP // 4, CROP // 4)  # a crop at stride 4
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


def generator_forward(config: str, side: int) -> int:
    """Operations of the frozen proposals of one square image, sampling of deformable attention left out."""
    cfg = launch.read_config(config)
    init_default_scope("mmdet")
    generator = cfg.model.generator
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone, head = MODELS.build(generator.backbone), MODELS.build(generator.panoptic_head)
        for part in (backbone, head):
            part.eval()
        with FakeTensorMode(allow_non_fake_inputs=True):
            maps = backbone(torch.empty(1, 3, side, side))
        head([torch.zeros(level.shape) for level in maps], [BaseDataElement()])
    return int(counter.get_total_flops())


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count what FISA's image tower costs in each form of tuning.")
    parser.add_argument("--model", default="ViT-L-14-336", help="name of open_clip (ViT-L-14-336)")
    parser.add_argument("--resolution", type=int, default=896, help="side of the square that CLIP sees (896)")
    parser.add_argument("--names", type=int, default=133, help="class tokens (133)")
    parser.add_argument("--images", type=int, default=400_000, help="seen in training (25k iterations of 16)")
    parser.add_argument(
        "--generator", default=GENERATOR, metavar="CONFIG", help="whose proposals are counted too (%(default)s)"
    )
    parser.add_argument("--proposals", type=int, default=100, help="masks (100)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    title = f"{args.model} at {args.resolution}, {args.names} names, {args.proposals} proposals, one image, fp32"
    headings = ("trained, M", "forward, TFLOP", "backward, TFLOP", "kept for backward, GiB", "training, EFLOP")
    table = Table("row", *headings, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    with launch.clear_errors():
        proposals = generator_forward(args.generator, CROP)
        for name, settings in ROWS.items():
            found = cost(settings, args.model, args.resolution, args.names, args.proposals)
            table.add_row(
                name,
                f"{found.trained / 1e6:.2f}",
                f"{found.forward / 1e12:.3f}",
                f"{found.backward / 1e12:.3f}",
                f"{found.kept / 2**30:.2f}",
                f"{args.images * (proposals + found.forward + found.backward) / 1e18:.2f}",
            )
    console = Console(width=120)
    console.print(table)
    console.print(
        f"Training: {args.images:,} images, with the proposals' {proposals / 1e12:.3f} TFLOP (forward, "
        f"{CROP} x {CROP}) in every row.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
