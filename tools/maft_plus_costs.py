"""Count what MAFT+ costs at the real sizes beside its frozen baseline: python tools/maft_plus_costs.py [--names 171].

Nothing large is computed. CLIP's side is counted on tensors without memory. The proposal head, whose deformable
attention has to know sizes, is run on two small images: its operations are a constant plus so many for each pixel,
which two sizes determine.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(ROOT))

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from rich.console import Console
from rich.table import Table
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from hclip_mmseg.apis import launch
from hclip_mmseg.mask_classification.classification import SynonymTable
from hclip_mmseg.mask_classification.maft_plus import Proposals

ROWS = {
    "frozen CLIP": "baseline",
    "+ CDT": "cdt",
    "+ RC": "rc",
    "MAFT+": "maft-plus",
    "MAFT+, published form": "maft-plus-published",
}
SMALL = (128, 256)  # sides of the images that the head is run on


class Cost(NamedTuple):
    """Of one image: multiply-adds counted as two operations."""

    trained: int
    inference: int
    step: int


def operations(function: Callable[[], object]) -> int:
    """Of a function, without gradients."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function()
    return int(counter.get_total_flops())


def head_operations(head: nn.Module, channels: list[int], strides: list[int], pixels: int) -> int:
    """Of the proposal head on maps of an image of so many pixels; in training mode it embeds in every layer."""

    def run(side: int) -> None:
        head([torch.zeros(1, c, side // s, side // s) for c, s in zip(channels, strides, strict=True)], [])

    few, many = (operations(lambda side=side: run(side)) for side in SMALL)
    areas = [side**2 for side in SMALL]
    return round(few + (many - few) * (pixels - areas[0]) / (areas[1] - areas[0]))


def score_operations(model: nn.Module, names: int, size: tuple[int, int]) -> int:
    """Of content-dependent transfer and of CLIP's scores of masks."""
    stride = model.backbone.image_tower.strides[-1]
    dense = torch.empty(1, model.backbone.image_tower.channels[-1], size[0] // stride, size[1] // stride)
    masks = torch.empty(1, model.head.num_queries, size[0] // 4, size[1] // 4)
    words = torch.empty(names, model.backbone.embed_dim)
    model.synonyms = SynonymTable([f"name {number}" for number in range(names)])

    def run() -> None:
        transferred = words
        if model.cdt is not None:
            projected = model.backbone.project(dense.permute(0, 2, 3, 1))
            transferred = model.cdt(words, projected.permute(0, 3, 1, 2))
        model.clip_logits(Proposals(dense, words, transferred, [], [masks]))

    return operations(run)


def cost(config: Config, names: int, size: tuple[int, int], crop: int) -> Cost:
    """Counts one row; a backward pass is taken for twice the forward pass of what it goes through.

    Args:
        config: of a MAFT+; CLIP's weights need not be there.
        names: words that are asked for, their text embeddings given.
        size: height and width of a picture in inference, multiples of 32.
        crop: side of a crop in training.
    """
    init_default_scope(config.default_scope)
    config.model.backbone.clip.pretrained = None
    with torch.device("meta"):
        model = MODELS.build(config.model)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    tower = model.backbone.image_tower
    square = (crop, crop)
    # fake tensors rather than meta ones, for these know autocast and the fused attention that a run uses
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        looked, learned = (operations(lambda area=area: tower(torch.empty(1, 3, *area))) for area in (size, square))
        inference, scores = score_operations(model, names, size), score_operations(model, names, square)
    step = learned * ((3 if model.backbone.trains else 1) + (model.rc is not None))
    step += 3 * scores if model.mask_aware_loss is not None else 0
    settings = dict(embed_dim=tower.embed_dim, in_channels=tower.channels)
    pixel_decoder = {**config.model.head.pixel_decoder, "strides": tower.strides}
    head = MODELS.build({**config.model.head, **settings, "pixel_decoder": pixel_decoder})
    shape = (tower.channels, tower.strides)
    inference += looked + head_operations(head.eval(), *shape, size[0] * size[1])
    step += 3 * head_operations(head.train(), *shape, crop**2)
    return Cost(trained, inference, step)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count what MAFT+ costs at the real sizes beside its frozen baseline.")
    parser.add_argument("--tower", choices=["l", "b"], default="l", help="ConvNeXt-L or -B, for MAFT+'s row alone (l)")
    parser.add_argument("--names", type=int, default=171, help="words that are asked for (171)")
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1088), help="of a picture in inference (800 1088)")
    parser.add_argument("--crop", type=int, default=1024, help="side of a crop in training (1024)")
    args = parser.parse_args()
    if any(side % 32 or side < 32 for side in (*args.size, args.crop)):
        parser.error("--size and --crop must be multiples of 32")
    return args


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    rows = ROWS if args.tower == "l" else {"MAFT+": "maft-plus", "MAFT+, published form": "maft-plus-published"}
    title = f"ConvNeXt-{args.tower.upper()}, {args.names} names, {args.size[0]} x {args.size[1]}, crops of {args.crop}"
    heads = ("row", "trained, M", "inference, TFLOP an image", "training, TFLOP an image", "training in all, EFLOP")
    table = Table(*heads, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    with launch.clear_errors():
        for name, row in rows.items():
            config = Config.fromfile(ROOT / f"configs/maft_plus/{row}_convnext-{args.tower}_coco-stuff.py")
            found = cost(config, args.names, tuple(args.size), args.crop)
            images = config.max_iters * config.auto_scale_lr.base_batch_size
            table.add_row(
                name,
                f"{found.trained / 1e6:.1f}",
                f"{found.inference / 1e12:.2f}",
                f"{found.step / 1e12:.2f}",
                f"{found.step * images / 1e18:.2f}",
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
