"""Images that a demo brings with it: rendered scenes, drawn when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from hclip_mmseg.demo_assets.scenes import render_scene

SEED, SIZE, COUNT = 3, 192, 4


class Example(NamedTuple):
    """An image with names for it.

    Attributes:
        path: of its file.
        names: the class names in it, and some that are not, as a text.
    """

    path: Path
    names: str


def write_examples(folder: Path) -> Mapping[str, Example]:
    """Draw the examples into a folder; name of each -> it."""
    scenes = [render_scene(SEED, index, SIZE) for index in range(COUNT)]
    found = {}
    for number, scene in enumerate(scenes):
        other = scenes[number - 1].names
        names = dict.fromkeys((*scene.names, *other))
        path = folder / f"scene_{number + 1}.png"
        Image.fromarray(scene.image).save(path)
        found[path.stem] = Example(path, ", ".join(names))
    return found
