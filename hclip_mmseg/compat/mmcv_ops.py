"""The one place that knows that mmcv's compiled operators may be absent.

`mmcv.ops` loads every operator from the compiled module `mmcv._ext`, which the maintained wheels and
mmcv-lite do not have. Nothing of this project needs those operators, but importing `mmseg.models` (in the
original releases) and `mmdet.models` does. `ensure_mmcv_ops` puts a stand-in in the place of the absent
module: the operators that torchvision has are run by it, multi-scale deformable attention by mmcv's own form in
plain torch, and every other one says what is missing when, and only when, it is called. `batched_nms` and
`point_sample` are plain torch on these in mmcv itself.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

import torch
import torchvision
from torch import Tensor

EXTENSION = "mmcv._ext"
GOES_ON = "mmseg."
"""Beginning of modules that are imported without operators too, with None in the place of each."""


class MissingMMCVOpError(NotImplementedError):
    """Raised on calling an operator that mmcv was installed without."""


def ensure_mmcv_ops() -> bool:
    """Make `mmcv.ops` importable; do nothing where mmcv's compiled operators are present.

    Safe to call more than once.

    Returns:
        True if a stand-in is in use, False if the operators are mmcv's own.
    """
    loaded = sys.modules.get(EXTENSION)
    if loaded is None:
        try:
            loaded = importlib.import_module(EXTENSION)
        except ModuleNotFoundError:
            loaded = sys.modules[EXTENSION] = StandIn()
        except ImportError as error:
            warnings.warn(
                f"mmcv's compiled operators are installed but do not load ({error}); going on without them",
                stacklevel=2,
            )
            loaded = sys.modules[EXTENSION] = StandIn()
        if isinstance(loaded, StandIn):
            _give_to_those_before()
    return isinstance(loaded, StandIn)


def _give_to_those_before() -> None:
    """Give the operators to MMSegmentation's modules that were imported without them and have None in their place."""
    before = [module for name, module in sys.modules.items() if name.startswith(GOES_ON)]
    lacking = [(module, name) for module in before for name, value in vars(module).items() if value is None]
    if not lacking:
        return
    givers = [importlib.import_module("mmcv.ops"), sys.modules.get("mmseg.models.utils.point_sample")]
    for module, name in lacking:
        for giver in givers:
            found = getattr(giver, name.lstrip("_"), None)
            if callable(found):
                setattr(module, name, found)
                break


class StandIn(ModuleType):
    """A module that has every operator's name, and the few operators that torch and torchvision can run."""

    def __init__(self) -> None:
        super().__init__(EXTENSION, "Stand-in for mmcv's compiled operators.")
        self.__spec__ = ModuleSpec(EXTENSION, loader=None)
        self.get_compiler_version = lambda: "none (mmcv without compiled operators)"
        self.get_compiling_cuda_version = lambda: "none (mmcv without compiled operators)"
        self.nms = nms
        self.roi_align_forward = roi_align_forward
        self.roi_align_backward = roi_align_backward
        self.ms_deform_attn_forward = ms_deform_attn_forward
        self.ms_deform_attn_backward = ms_deform_attn_backward

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> NoReturn:
            raise MissingMMCVOpError(
                f"mmcv was installed without its compiled operators, and '{name}' is one of them. "
                "Install an mmcv with compiled operators for this torch and CUDA to use it."
            )

        missing.__name__ = name
        return missing


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Non-maximum suppression of boxes [N, 4] (x1, y1, x2, y2): indices kept, best first.

    `offset` 1 is the old convention in which a box ends on its last pixel: its sides are one longer.
    """
    longer = boxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(boxes + longer, scores, iou_threshold)


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign of features [B, C, H, W] at rois [N, 5] into `output` [N, C, h, w]; average pooling only."""
    _require_average(pool_mode)
    size = (aligned_height, aligned_width)
    exact = _exact(features)
    output.copy_(torchvision.ops.roi_align(exact, rois.to(exact), size, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of `roi_align_forward` with respect to the features, into `grad_input`."""
    _require_average(pool_mode)
    exact = _exact(grad_output)
    gradient = torch.ops.torchvision._roi_align_backward(
        exact,
        rois.to(exact),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(gradient)


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    *,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention (Deformable DETR, Eq. 3), which mmcv itself calls on GPUs only.

    Args:
        value: [B, keys, heads, channels], the levels behind one another.
        spatial_shapes: [levels, 2], height and width of each.
        level_start_index: [levels]; follows from the shapes and is not read.
        sampling_locations: [B, queries, heads, levels, points, 2], x and y in 0..1.
        attention_weights: [B, queries, heads, levels, points].
        im2col_step: of the compiled form; not read.

    Returns:
        [B, queries, heads * channels].
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(value, spatial_shapes.tolist(), sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_locations: Tensor,
    grad_attention_weights: Tensor,
    *,
    im2col_step: int,
) -> None:
    """Gradients of `ms_deform_attn_forward` into the three `grad_` tensors; computes it once more."""
    inputs = [tensor.detach().requires_grad_() for tensor in (value, sampling_locations, attention_weights)]
    with torch.enable_grad():
        output = ms_deform_attn_forward(
            inputs[0], spatial_shapes, level_start_index, inputs[1], inputs[2], im2col_step=im2col_step
        )
    gradients = torch.autograd.grad(output, inputs, grad_output)
    for target, gradient in zip((grad_value, grad_sampling_locations, grad_attention_weights), gradients, strict=True):
        target.copy_(gradient)


def _exact(x: Tensor) -> Tensor:
    """At least fp32: torchvision's kernels do not know bfloat16, which also rounds coordinates to whole pixels."""
    return x if x.dtype == torch.float64 else x.float()


def _require_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise MissingMMCVOpError(
            "mmcv was installed without its compiled operators; without them RoIAlign only pools by average "
            "(pool_mode='avg')."
        )
