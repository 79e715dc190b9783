"""What a refinement of the segmentor may look at beside the label map that it corrects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Evidence:
    """Of one image, as it is stored: not flipped.

    Attributes:
        metainfo: such as ``img_path``, and ``clip_crop`` where :class:`~.clip_crop.CLIPCrop` cut it.
        classes: number of labels.
        probabilities: gives the probabilities of all classes [classes, H, W] at the labels' size.
        image: gives the image [3, h, w], normalised for CLIP, at any size.
        benchmark: name of the benchmark's list that is asked for; "" for others.
    """

    metainfo: Mapping[str, Any]
    classes: int
    probabilities: Callable[[], Tensor]
    image: Callable[[], Tensor]
    benchmark: str = ""
