"""Operations and memory of FISA in each form of tuning.

CLIP's image tower is not computed: operations are counted on tensors without memory, at the real sizes. Of the mask
generator the heads are run once, since deformable attention reads the sizes of its maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement
from mmseg.registry import MODELS
from rich.console import Console
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from hclip_mmseg.apis import launch
from hclip_mmseg.costs.operations import counted_operations, operations
from hclip_mmseg.costs.printed import number_table
from hclip_mmseg.mask_classification.fisa import FISACLIP

ROWS: Mapping[str, dict[str, Any]] = {
    "baseline (frozen)": dict(tuning="none"),
    "+ SEVE": dict(tuning="none", seve={}, distribution_adapter={}),
    "+ SEVE + full tuning": dict(tuning="full", seve={}, distribution_adapter={}),
    "+ SEVE + LoRA 64": dict(tuning=dict(type="LoRA", rank=64), seve={}, distribution_adapter={}),
    "FISA": dict(tuning="queries", seve={}, distribution_adapter={}),
}
"""Row of the paper's ablation -> settings of the CLIP."""
CROP = 1024  # side of a crop in training, in pixels


class Cost(NamedTuple):
    """The cost of a training step of the image tower on one image; inference is its forward pass.

    Attributes:
        trained: trained parameters.
        forward, backward: operations, two for a multiply-add.
        kept: bytes that the forward pass keeps for the backward pass.
    """

    trained: int
    forward: int
    backward: int
    kept: int


class KeptBytes:
    """Adds up the storages that autograd keeps for a backward pass, each of them once.

    Args:
        owned: tensors that are there anyway, such as parameters.
    """

    def __init__(self, owned: Iterable[torch.Tensor]) -> None:
        self._owned = {self._key(tensor) for tensor in owned}
        self._kept: dict[int, torch.UntypedStorage] = {}

    @staticmethod
    def _key(tensor: torch.Tensor) -> int:
        return int(tensor.untyped_storage()._cdata)  # fake tensors have no address

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """Notes a tensor that is kept, and returns it."""
        self._kept[self._key(tensor)] = tensor.untyped_storage()
        return tensor

    def total(self) -> int:
        """Bytes of all that was kept."""
        return sum(storage.nbytes() for key, storage in self._kept.items() if key not in self._owned)


def tower_cost(settings: Mapping[str, Any], model: str, resolution: int, names: int, proposals: int) -> Cost:
    """Count a training step of the image tower on one image, text embeddings given.

    Args:
        settings: of `FISACLIP`, as in ``ROWS``.
        model: open_clip's name of the CLIP.
        resolution: side of the square that CLIP sees, in pixels.
        names: number of class names.
        proposals: number of masks.
    """
    # fake tensors rather than meta ones, for these go through the fused attention that a run uses
    with FakeTensorMode():
        clip = FISACLIP(clip=dict(model=model), resolution=resolution, **settings)
        image = torch.empty(1, 3, resolution, resolution)
        masks = torch.empty(1, proposals, CROP // 4, CROP // 4)  # a crop at stride 4
        text = torch.empty(names, clip.embed_dim)
        kept = KeptBytes(clip.parameters())
        with counted_operations() as counter, saved_tensors_hooks(kept.keep, lambda tensor: tensor):
            embeddings = clip(image, clip.adapt(masks), text)
        forward, backward = int(counter.get_total_flops()), 0
        if embeddings.requires_grad:
            backward = operations(lambda: embeddings.sum().backward(), gradients=True)
    return Cost(sum(clip.trained_parts().values()), forward, backward, kept.total())


def generator_forward(config: str, side: int) -> int:
    """Operations of the frozen proposals of one square image, sampling of deformable attention left out.

    Args:
        config: path of a config with a mask generator.
        side: of the image, in pixels.

    Raises:
        FileNotFoundError, ValueError: if there is no such config, or it has no mask generator.
    """
    cfg = launch.read_config(config, ["model"])
    generator = cfg.model.get("generator")
    if generator is None:
        raise ValueError(f"the model of {config} has no mask generator ('generator') to count")
    init_default_scope("mmdet")
    backbone, head = MODELS.build(generator.backbone), MODELS.build(generator.panoptic_head)
    for part in (backbone, head):
        part.eval()

    def propose() -> None:
        with FakeTensorMode(allow_non_fake_inputs=True):
            maps = backbone(torch.empty(1, 3, side, side))
        head([torch.zeros(level.shape) for level in maps], [BaseDataElement()])

    return operations(propose)


def print_costs(
    model: str, resolution: int, names: int, proposals: int, generator: str, images: int, console: Console | None = None
) -> None:
    """Print the table of all rows.

    Args:
        model, resolution, names, proposals: see `tower_cost`.
        generator: path of the config whose mask generator is counted too.
        images: number of images seen in training.
        console: where it is printed; None: a terminal of 120 columns.

    Raises:
        FileNotFoundError, ValueError: see `generator_forward`.
    """
    generated = generator_forward(generator, CROP)
    table = number_table(
        "row", "trained, M", "forward, TFLOP", "backward, TFLOP", "kept for backward, GiB", "training, EFLOP",
        title=f"{model} at {resolution}, {names} names, {proposals} proposals, one image, fp32",
    )  # fmt: skip
    for name, settings in ROWS.items():
        cost = tower_cost(settings, model, resolution, names, proposals)
        table.add_row(
            name,
            f"{cost.trained / 1e6:.2f}",
            f"{cost.forward / 1e12:.3f}",
            f"{cost.backward / 1e12:.3f}",
            f"{cost.kept / 2**30:.2f}",
            f"{images * (generated + cost.forward + cost.backward) / 1e18:.2f}",
        )
    console = console or Console(width=120)
    console.print(table)
    console.print(
        f"Training: {images:,} images, with the proposals' {generated / 1e12:.3f} TFLOP (forward, {CROP} x {CROP}) in "
        "every row.",
        highlight=False,
    )
