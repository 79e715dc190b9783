"""Batches of rendered scenes and their captions, along a curriculum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hclip_mmseg.demo_assets.scenes import (
    LIST_TEMPLATES,
    NAME_TEMPLATES,
    SCENE_CLASSES,
    Scene,
    render_scene,
)


@dataclass(frozen=True)
class Phase:
    """A stretch of the curriculum, written as SIZE:BATCH:OBJECTS:STEPS[:DROP].

    Attributes:
        size: side of the images, in pixels, a multiple of 8 in 32..192.
        batch: images of a step.
        objects: the fewest and the most objects of an image.
        steps: how many.
        drop: share of the image tokens that is left out, in 0..1.
    """

    size: int
    batch: int
    objects: tuple[int, int]
    steps: int
    drop: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Phase:
        """Read a phase, such as 64:128:1-1:500 or 64:128:1-1:500:0.5.

        Raises:
            ValueError: if the text is no phase.
        """
        try:
            size, batch, objects, steps, *drop = text.split(":")
            low, high = objects.split("-")
            dropped = float(drop[0]) if drop else 0.0
            phase = cls(int(size), int(batch), (int(low), int(high)), int(steps), dropped)
        except ValueError as error:
            raise ValueError(f"{text!r} is not of the form 64:128:1-1:500 or 64:128:1-1:500:0.5") from error
        if phase.size % 8 or not 32 <= phase.size <= 192 or min(phase.batch, phase.steps) < 1:
            raise ValueError(f"{text!r}: size must be 32..192 by 8, batch and steps positive")
        return phase


class Batches(Dataset[dict[str, Tensor]]):
    """Rendered batches: item ``i`` is that of step ``start + i`` of a phase, and depends on the seed alone.

    Args:
        phase: of the curriculum.
        seed: of the scenes.
        start: step of the first item.
    """

    def __init__(self, phase: Phase, seed: int, start: int) -> None:
        self.phase, self.seed, self.start = phase, seed, start
        self.tokenizer = open_clip.get_tokenizer("ViT-B-32")  # every open_clip model has CLIP's own BPE

    def __len__(self) -> int:
        return self.phase.steps - self.start

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """``images`` uint8 [B, H, W, 3], ``present`` [B, names], ``tokens`` of captions and names [B + names, 77]."""
        if item >= len(self):
            raise IndexError(item)
        first = (self.start + item) * self.phase.batch
        size, objects = self.phase.size, self.phase.objects
        indices = range(first, first + self.phase.batch)
        batch = [render_scene(self.seed, i, size, num_objects=objects) for i in indices]
        rng = np.random.default_rng((self.seed, first, 1))
        names = [NAME_TEMPLATES[rng.integers(len(NAME_TEMPLATES))].format(name) for name in SCENE_CLASSES]
        return {
            "images": torch.from_numpy(np.stack([scene.image for scene in batch])),
            "present": presence(batch),
            "tokens": self.tokenizer([scene.caption for scene in batch] + names),
        }


def presence(batch: Sequence[Scene]) -> Tensor:
    """Which names each scene shows, ``float [B, names]`` of zeros and ones."""
    table = torch.zeros(len(batch), len(SCENE_CLASSES))
    for row, scene in zip(table, batch, strict=True):
        row[[SCENE_CLASSES.index(name) for name in scene.names]] = 1
    return table


def used_tokens() -> Tensor:
    """Sorted ids of all tokens that captions can hold; the rest of the embedding is never trained."""
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    texts = [t.format("x") for t in NAME_TEMPLATES] + list(SCENE_CLASSES)
    texts += [t.format(objects="a x, a x and a x", backgrounds="x and x") for t in LIST_TEMPLATES]
    used: Tensor = torch.unique(tokenizer([f"{text} a b" for text in texts]))
    return used
