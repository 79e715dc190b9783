"""Trident's two parts with SAM, written out patch by patch, region by region and pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def aggregation(attention: Tensor, values: Tensor, factor: float, negative: float | None = None) -> Tensor:
    """A [patches, patches] of SAM's attention [heads, patches, patches] and values [heads, patches, C]."""
    heads, patches, _ = attention.shape
    result = torch.zeros(patches, patches)
    for i in range(patches):
        cosines = torch.stack([F.cosine_similarity(values[:, i], values[:, j], dim=-1) for j in range(patches)])
        least = min(0.9, factor * float(cosines.mean()))
        if negative is not None and least < 0:
            least = negative
        for j in range(patches):
            own = [float(attention[h, i, j]) if cosines[j, h] > least else 0.0 for h in range(heads)]
            result[i, j] = sum(own) / heads
        result[i] /= result[i].sum()
    return result


def connected(region: Tensor) -> list[Tensor]:
    """The parts of a region [h, w] that hang together over sides or corners."""
    left, parts = {tuple(place) for place in region.nonzero().tolist()}, []
    while left:
        part, waiting = torch.zeros_like(region), [min(left)]
        left.discard(waiting[0])
        while waiting:
            row, column = waiting.pop()
            part[row, column] = True
            for near in [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if near in left:
                    left.discard(near)
                    waiting.append(near)
        parts.append(part)
    return parts


Ask = Callable[[Tensor, tuple[int, int, int, int], tuple[int, int]], tuple[Tensor, float]]
"""(probability of a class at half the size, box, point) -> (mask's logits at full size, IoU)."""


def refine(
    labels: Tensor, probabilities: Tensor, ask: Ask, threshold: float, least_area: int, least_iou: float, surer: bool
) -> Tensor:
    """A label map [H, W] after SAM was asked for its regions."""
    classes, height, width = probabilities.shape
    half = (height // 2, width // 2)
    small = F.interpolate(probabilities[None], size=half, mode="bilinear")[0]
    masks: dict[int, list[Tensor]] = {}
    failed = torch.zeros(height, width, dtype=torch.bool)
    for label in range(classes):
        region = torch.zeros(half, dtype=torch.bool)
        for row in range(half[0]):
            for column in range(half[1]):
                own = labels[int(row * height / half[0]), int(column * width / half[1])]
                region[row, column] = own == label and small[:, row, column].max() >= threshold
        if small[label].max() < threshold:
            continue
        for part in connected(region):
            if part.sum() < least_area:
                continue
            rows, columns = part.nonzero(as_tuple=True)
            box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
            best = max(part.nonzero().tolist(), key=lambda place: float(small[label][place[0], place[1]]))
            mask, iou = ask(small[label], box, (best[1], best[0]))
            if iou > least_iou:
                masks.setdefault(label, []).append(mask)
            else:
                failed |= F.interpolate(part[None, None].float(), size=(height, width), mode="nearest")[0, 0] > 0
    result = labels.clone()
    for row in range(height):
        for column in range(width):
            new = {}
            for label, found in masks.items():
                at = [float(mask[row, column]) for mask in found]
                if max(at) > 0:
                    new[label] = max(float(torch.tensor(x).sigmoid()) for x in at) * float(
                        probabilities[label, row, column]
                    )
            if new and max(new.values()) > 0:
                best_label = max(new, key=lambda label: new[label])
                if not (surer and failed[row, column] and probabilities[:, row, column].max() > new[best_label]):
                    result[row, column] = best_label
    return result
