"""Rendered scenes with exact masks: coloured, textured shapes on stuff backgrounds.

A scene is a function of ``(seed, index)`` and the arguments of :func:`render_scene`; no file is read.
Names are composed of a colour, a texture and a shape ("red striped star") or name a background ("grass").
They are parted into :data:`TRAIN_NAMES` and :data:`HELD_OUT_NAMES`: every colour, texture and shape, and
every pair of two of them, occurs among the training names, but a quarter of the combinations does not. The
backgrounds are not composed of anything that could be learned from others, so all of them are training names.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

COLOURS = {
    "red": (215, 35, 40),
    "green": (30, 185, 60),
    "blue": (40, 70, 225),
    "yellow": (245, 220, 40),
    "purple": (150, 50, 190),
    "black": (25, 25, 30),
}
TEXTURES = ("plain", "striped", "dotted")
SHAPES = ("circle", "triangle", "star", "cross")
BACKGROUNDS = ("grass", "brick wall", "water", "sand", "wooden floor", "snow")

MAX_SIZE = 448  # the largest scene that a background tile can fill, in pixels
MIN_VISIBLE_FRACTION = 0.85  # of an object's area, after what lies over it and the border have cut it
MAX_TILT = np.radians(20)  # objects stand upright but for this tilt, as things in photographs do
MIN_VISIBLE_PIXELS = 96  # what a name, also a background's, must cover to count as present

_TILE = 512
_LIGHT = (242.0, 242.0, 238.0)  # the second colour of stripes and dots


def _is_held_out(colour: int, texture: int, shape: int) -> bool:
    """A Latin-square rule: one shape of four is left out for each pair of a colour and a texture."""
    return (colour + texture + shape) % len(SHAPES) == 0


def _split_names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    train: list[str] = []
    held_out: list[str] = []
    for (c, colour), (t, texture), (s, shape) in itertools.product(
        enumerate(COLOURS), enumerate(TEXTURES), enumerate(SHAPES)
    ):
        (held_out if _is_held_out(c, t, s) else train).append(f"{colour} {texture} {shape}")
    return (*train, *BACKGROUNDS), tuple(held_out)


TRAIN_NAMES, HELD_OUT_NAMES = _split_names()
SCENE_CLASSES: tuple[str, ...] = TRAIN_NAMES + HELD_OUT_NAMES
_LABELS = {name: label for label, name in enumerate(SCENE_CLASSES)}


@dataclass(frozen=True)
class Scene:
    """One rendered scene.

    Attributes:
        image: RGB, ``uint8 [size, size, 3]``.
        labels: indices into :data:`SCENE_CLASSES`, ``uint8 [size, size]``; exact, every pixel has one.
        names: the names present, objects in the order in which they were laid down, then backgrounds.
        caption: a sentence that mentions each of ``names`` once and nothing else.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    names: tuple[str, ...]
    caption: str


def render_scene(
    seed: int,
    index: int,
    size: int,
    *,
    names: Sequence[str] = SCENE_CLASSES,
    num_objects: tuple[int, int] = (2, 4),
    num_backgrounds: tuple[int, int] = (1, 2),
    radius: tuple[float, float] = (24.0, 42.0),
) -> Scene:
    """Render scene ``index`` of the series ``seed``.

    Args:
        seed: the series, not negative.
        index: the scene within the series, not negative.
        size: height and width in pixels, 32 to :data:`MAX_SIZE`.
        names: what may be in the scene; at least one background among them.
        num_objects: least and greatest number of objects laid down, each of another name. An object that
            finds no place without hiding the others too much is left out: a crowded scene may hold fewer.
        num_backgrounds: least and greatest number of backgrounds (1 or 2, parted by a tilted horizon).
        radius: least and greatest radius of an object in pixels.

    Raises:
        KeyError: a name is not one of :data:`SCENE_CLASSES`.
        ValueError: a range is empty, the size cannot be rendered, or ``names`` offers too little.
    """
    objects, backgrounds = _choices(names)
    _check_ranges(size, len(objects), len(backgrounds), num_objects, num_backgrounds, radius)
    rng = np.random.default_rng((seed, index))
    image, labels = _lay_background(rng, size, backgrounds, num_backgrounds)
    count = int(rng.integers(num_objects[0], num_objects[1] + 1))
    chosen = [objects[i] for i in rng.permutation(len(objects))[:count]]
    placed: dict[int, int] = {}  # label -> area of the whole object
    for name in chosen:
        _lay_object(rng, image, labels, name, radius, placed)
    image += _noise_tile()[_window(rng, size)]
    image *= rng.uniform(0.9, 1.1)
    visible = np.bincount(labels.ravel(), minlength=len(SCENE_CLASSES))
    is_object = [SCENE_CLASSES[label] for label in placed]
    is_background = [b for b in backgrounds if visible[_LABELS[b]] >= MIN_VISIBLE_PIXELS]
    present = (*is_object, *is_background)
    return Scene(np.clip(image, 0, 255).astype(np.uint8), labels, present, describe(present, rng))


LIST_TEMPLATES = (
    "A photo of {objects} on {backgrounds} in the scene",
    "A photo of {objects} and {backgrounds} in the scene",
    "{objects} on {backgrounds}",
    "{backgrounds} with {objects}",
    "there is {objects} on {backgrounds}",
)
NAME_TEMPLATES = (
    "A photo of a {} in the scene",
    "A photo of {} in the scene",
    "A photo of a {}",
    "a {}",
    "{}",
    "there is a {} in the scene",
)


def describe(names: Sequence[str], rng: np.random.Generator) -> str:
    """A caption in a random template that mentions each of ``names`` (at least one) once, in random order."""
    if not names:
        raise ValueError("a caption needs at least one name")
    order = [names[i] for i in rng.permutation(len(names))]
    things = [f"a {name}" for name in order if name not in BACKGROUNDS]
    stuff = [name for name in order if name in BACKGROUNDS]
    if things and stuff:
        template = LIST_TEMPLATES[rng.integers(len(LIST_TEMPLATES))]
        return template.format(objects=_enumerate(things), backgrounds=_enumerate(stuff))
    if len(order) == 1:
        return NAME_TEMPLATES[rng.integers(len(NAME_TEMPLATES))].format(order[0])
    return f"A photo of {_enumerate(things or stuff)} in the scene"


def _enumerate(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _choices(names: Sequence[str]) -> tuple[list[str], list[str]]:
    unknown = [name for name in names if name not in _LABELS]
    if unknown:
        raise KeyError(f"not names of these scenes: {unknown}; see SCENE_CLASSES")
    return [n for n in names if n not in BACKGROUNDS], [n for n in names if n in BACKGROUNDS]


def _check_ranges(
    size: int,
    objects: int,
    backgrounds: int,
    num_objects: tuple[int, int],
    num_backgrounds: tuple[int, int],
    radius: tuple[float, float],
) -> None:
    if not 32 <= size <= MAX_SIZE:
        raise ValueError(f"a scene's size must be between 32 and {MAX_SIZE} pixels, not {size}")
    if not 0 <= num_objects[0] <= num_objects[1] <= objects:
        raise ValueError(
            f"num_objects {num_objects} must be a range within 0..{objects}, the objects in names"
        )
    if not 1 <= num_backgrounds[0] <= num_backgrounds[1] <= 2 or num_backgrounds[0] > backgrounds:
        raise ValueError(
            f"num_backgrounds {num_backgrounds} must be a range within 1..2; names has {backgrounds}"
        )
    if not 4 <= radius[0] <= radius[1]:
        raise ValueError(f"radius {radius} must be a range of at least 4 pixels")


def _window(rng: np.random.Generator, size: int) -> tuple[slice, slice]:
    """A random square of a tile."""
    y, x = rng.integers(0, _TILE - size + 1, 2)
    return slice(y, y + size), slice(x, x + size)


def _lay_background(
    rng: np.random.Generator, size: int, backgrounds: Sequence[str], counts: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    count = min(int(rng.integers(counts[0], counts[1] + 1)), len(backgrounds))
    chosen = [backgrounds[i] for i in rng.permutation(len(backgrounds))[:count]]
    image = _background_tile(chosen[0])[_window(rng, size)] * np.float32(rng.uniform(0.9, 1.1))
    labels = np.full((size, size), _LABELS[chosen[0]], np.uint8)
    if count == 2:
        height, tilt = rng.uniform(0.3, 0.7) * size, rng.uniform(-0.3, 0.3)
        x = np.arange(size, dtype=np.float32)
        below = x[:, None] > height + tilt * (x[None, :] - size / 2)
        other = _background_tile(chosen[1])[_window(rng, size)] * np.float32(rng.uniform(0.9, 1.1))
        np.copyto(image, other, where=below[..., None])
        labels[below] = _LABELS[chosen[1]]
    return image, labels


def _lay_object(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    labels: NDArray[np.uint8],
    name: str,
    radius: tuple[float, float],
    placed: dict[int, int],
) -> None:
    """Draw ``name`` in place, or nothing when none of eight tries leaves every object visible enough."""
    colour, texture, shape = name.split()
    size = labels.shape[0]
    for _ in range(8):
        r = rng.uniform(*radius)
        outline = _outlines()[shape] * r @ _rotation(rng.uniform(-MAX_TILT, MAX_TILT))
        reach = min(0.8 * r, size / 2)  # a part of it may lie beyond the border
        centre = rng.uniform(reach, size - reach, 2)
        pad = int(1.3 * r) + 2  # no outline reaches further from its centre
        whole = np.zeros((size + 2 * pad, size + 2 * pad), np.uint8)
        points = np.round((outline + centre + pad) * 16).astype(np.int32)
        cv2.fillPoly(whole, [points], 1, shift=4)
        mask = whole[pad:-pad, pad:-pad].astype(bool)
        area = int(whole.sum())
        if mask.sum() < max(MIN_VISIBLE_FRACTION * area, MIN_VISIBLE_PIXELS):
            continue
        left = np.bincount(labels[~mask], minlength=len(SCENE_CLASSES))
        if any(left[other] < MIN_VISIBLE_FRACTION * placed[other] for other in placed):
            continue
        placed[_LABELS[name]] = area
        labels[mask] = _LABELS[name]
        ys, xs = np.nonzero(mask)
        image[ys, xs] = _paint(rng, COLOURS[colour], texture, xs - centre[0], ys - centre[1])
        return


def _paint(
    rng: np.random.Generator,
    colour: tuple[int, int, int],
    texture: str,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Colours ``[pixels, 3]`` of an object's pixels at offsets ``x, y`` from its centre."""
    base = np.array(colour, np.float32) * rng.uniform(0.85, 1.1) + rng.normal(0, 6, 3)
    pixels = np.broadcast_to(base.astype(np.float32), (x.size, 3)).copy()
    if texture == "plain":
        return pixels
    turn = _rotation(rng.uniform(0, np.pi))
    u, v = turn @ np.stack([x, y])
    if texture == "striped":
        period = rng.uniform(8, 11)
        light = (u / period + rng.uniform()) % 1 < 0.45
    else:
        spacing = rng.uniform(8.5, 10.5)
        du = (u + rng.uniform(0, spacing)) % spacing - spacing / 2
        dv = (v + rng.uniform(0, spacing)) % spacing - spacing / 2
        light = du * du + dv * dv < (0.3 * spacing) ** 2
    pixels[light] = _LIGHT
    return pixels


def _rotation(angle: float) -> NDArray[np.float64]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


@functools.cache
def _outlines() -> dict[str, NDArray[np.float64]]:
    """Polygons ``[points, 2]`` about the origin, of like area for radius 1."""

    def ring(points: int, radii: Sequence[float]) -> NDArray[np.float64]:
        angle = np.arange(points) * 2 * np.pi / points
        r = np.resize(np.array(radii), points)
        return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)

    a, b = 0.32, 1.05  # half the width and half the length of a cross's arms
    arm = np.array([(a, a), (b, a), (b, -a)])  # one of four: half a notch and an arm's end
    cross = np.concatenate([arm @ _rotation(-turn * np.pi / 2).T for turn in range(4)])
    return {
        "circle": ring(48, (0.85,)),
        "triangle": ring(3, (1.2,))[:, ::-1] * [1, -1],  # upright: its tip above
        "star": ring(10, (1.25, 0.5))[:, ::-1] * [1, -1],
        "cross": cross,
    }


@functools.cache
def _noise_tile() -> NDArray[np.float32]:
    return np.random.default_rng(7).normal(0, 5, (_TILE, _TILE, 3)).astype(np.float32)


@functools.cache
def _background_tile(name: str) -> NDArray[np.float32]:
    """A tile of stuff, RGB ``float32 [512, 512, 3]`` about 0..255; windows of it make backgrounds."""
    rng = np.random.default_rng((11, BACKGROUNDS.index(name)))

    def grain(kernel: tuple[int, int], strength: float) -> NDArray[np.float32]:
        field = cv2.blur(rng.normal(0, 1, (_TILE, _TILE)).astype(np.float32), kernel)
        return (field * (strength / field.std())).astype(np.float32)[..., None]

    y, x = np.mgrid[:_TILE, :_TILE].astype(np.float32)
    if name == "grass":
        return np.array([95, 125, 70], np.float32) + grain((2, 9), 26) * np.array([0.8, 1, 0.6], np.float32)
    if name == "water":
        waves = 16 * np.sin(y / 3.2 + 2.5 * np.sin(x / 17) + grain((31, 15), 0.6)[..., 0])
        return np.array([95, 150, 175], np.float32) + waves[..., None] + grain((15, 3), 8)
    if name == "sand":
        return np.array([205, 182, 140], np.float32) + grain((1, 1), 14) + grain((25, 25), 6)
    if name == "snow":
        return np.array([228, 234, 240], np.float32) + grain((41, 41), 8)
    if name == "wooden floor":
        plank = (y // 22).astype(int)
        tone = rng.normal(0, 9, 64)[plank][..., None].astype(np.float32)
        gap = np.where(y % 22 < 2, -55, 0)[..., None].astype(np.float32)
        return np.array([150, 108, 72], np.float32) + tone + gap + grain((41, 1), 12)
    row = (y // 13).astype(int)  # brick wall
    column = ((x + 13 * (row % 2)) // 26).astype(int)
    tone = rng.normal(0, 12, (64, 64))[row, column][..., None].astype(np.float32)
    mortar = (y % 13 < 2.5) | ((x + 13 * (row % 2)) % 26 < 2.5)
    brick = np.array([158, 98, 82], np.float32) + tone + grain((3, 3), 6)
    return np.where(mortar[..., None], np.array([188, 182, 172], np.float32), brick).astype(np.float32)
