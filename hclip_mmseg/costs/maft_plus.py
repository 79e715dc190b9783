"""Operations of MAFT+ at the real sizes, beside its frozen baseline.

Nothing large is computed. CLIP's side is counted on tensors without memory. The proposal head, whose deformable
attention has to know sizes, is run on two small images: its operations are a constant plus so many for each pixel,
which two sizes determine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from rich.console import Console
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hclip_mmseg.apis import launch
from hclip_mmseg.costs.operations import operations
from hclip_mmseg.costs.printed import number_table
from hclip_mmseg.mask_classification.classification import SynonymTable
from hclip_mmseg.mask_classification.maft_plus import Proposals

ROWS: Mapping[str, Mapping[str, str]] = {
    "l": {
        "frozen CLIP": "baseline",
        "+ CDT": "cdt",
        "+ RC": "rc",
        "MAFT+": "maft-plus",
        "MAFT+, published form": "maft-plus-published",
    },
    "b": {"MAFT+": "maft-plus", "MAFT+, published form": "maft-plus-published"},
}
"""Size of the ConvNeXt -> row of the paper's ablation -> beginning of its config's name."""
SMALL = (128, 256)  # sides of the images that the head is run on, in pixels
STRIDE = 32  # of the tower's last map


class Cost(NamedTuple):
    """The cost of one image.

    Attributes:
        trained: trained parameters.
        inference: operations of inference, two for a multiply-add.
        step: operations of a training step.
    """

    trained: int
    inference: int
    step: int


def head_operations(head: nn.Module, channels: Sequence[int], strides: Sequence[int], pixels: int) -> int:
    """Operations of the proposal head; in training mode it embeds masks in every layer.

    Args:
        head: a proposal head.
        channels, strides: of the image tower's maps.
        pixels: of the image.
    """

    def propose(side: int) -> None:
        shapes = ((1, width, side // stride, side // stride) for width, stride in zip(channels, strides, strict=True))
        head([torch.zeros(shape) for shape in shapes], [])

    few, many = (operations(lambda side=side: propose(side)) for side in SMALL)  # type: ignore[misc]
    areas = [side**2 for side in SMALL]
    return round(few + (many - few) * (pixels - areas[0]) / (areas[1] - areas[0]))


def score_operations(model: Any, names: int, size: tuple[int, int]) -> int:
    """Operations of content-dependent transfer and of CLIP's scores of the masks.

    Args:
        model: a MAFT+; it is given as many names.
        names: number of class names, each without synonyms.
        size: height and width of the image, in pixels.
    """
    stride = model.backbone.image_tower.strides[-1]
    dense = torch.empty(1, model.backbone.image_tower.channels[-1], size[0] // stride, size[1] // stride)
    masks = torch.empty(1, model.head.num_queries, size[0] // 4, size[1] // 4)
    text = torch.empty(names, model.backbone.embed_dim)
    model.synonyms = SynonymTable([f"name {number}" for number in range(names)])

    def score() -> None:
        transferred = text
        if model.cdt is not None:
            projected = model.backbone.project(dense.permute(0, 2, 3, 1))
            transferred = model.cdt(text, projected.permute(0, 3, 1, 2))
        model.clip_logits(Proposals(dense, text, transferred, [], [masks]))

    return operations(score)


def image_cost(config: Config, names: int, size: tuple[int, int], crop: int) -> Cost:
    """Count one row; a backward pass is taken for twice the forward pass of what it goes through.

    Args:
        config: of a MAFT+; CLIP's weights need not be there.
        names: number of class names, their text embeddings given.
        size: height and width of an image in inference, multiples of 32.
        crop: side of a crop in training, a multiple of 32.
    """
    init_default_scope(config.default_scope)
    config.model.backbone.clip.pretrained = None
    with torch.device("meta"):
        model = MODELS.build(config.model)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    tower = model.backbone.image_tower
    square = (crop, crop)

    def look(height: int, width: int) -> int:
        return operations(lambda: tower(torch.empty(1, 3, height, width)))

    # fake tensors rather than meta ones, for these know autocast and the fused attention that a run uses
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        inference = look(*size) + score_operations(model, names, size)
        learned, scores = look(*square), score_operations(model, names, square)
    step = learned * ((3 if model.backbone.trains else 1) + (model.rc is not None))
    step += 3 * scores if model.mask_aware_loss is not None else 0
    settings = dict(embed_dim=tower.embed_dim, in_channels=tower.channels)
    pixel_decoder = {**config.model.head.pixel_decoder, "strides": tower.strides}
    head = MODELS.build({**config.model.head, **settings, "pixel_decoder": pixel_decoder})
    shape = (tower.channels, tower.strides)
    inference += head_operations(head.eval(), *shape, size[0] * size[1])
    step += 3 * head_operations(head.train(), *shape, crop**2)
    return Cost(trained, inference, step)


def print_costs(tower: str, names: int, size: tuple[int, int], crop: int, console: Console | None = None) -> None:
    """Print the table of all rows.

    Args:
        tower: 'l' or 'b', the size of the ConvNeXt.
        names, size, crop: see `image_cost`.
        console: where it is printed; None: a terminal of 120 columns.

    Raises:
        ValueError: if a side is no multiple of 32.
    """
    if any(side % STRIDE or side < STRIDE for side in (*size, crop)):
        raise ValueError(f"--size and --crop must be multiples of {STRIDE}")
    table = number_table(
        "row", "trained, M", "inference, TFLOP an image", "training, TFLOP an image", "training in all, EFLOP",
        title=f"ConvNeXt-{tower.upper()}, {names} names, {size[0]} x {size[1]}, crops of {crop}",
    )  # fmt: skip
    for name, stem in ROWS[tower].items():
        config = launch.read_config(f"configs/maft_plus/{stem}_convnext-{tower}_coco-stuff.py")
        cost = image_cost(config, names, size, crop)
        images = config.max_iters * config.auto_scale_lr.base_batch_size
        table.add_row(
            name,
            f"{cost.trained / 1e6:.1f}",
            f"{cost.inference / 1e12:.2f}",
            f"{cost.step / 1e12:.2f}",
            f"{cost.step * images / 1e18:.2f}",
        )
    (console or Console(width=120)).print(table)
