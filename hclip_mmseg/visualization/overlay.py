"""A label map over its image, with a legend of the words in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt, maximum_filter

from hclip_mmseg.visualization.colours import name_colours
from hclip_mmseg.visualization.text import INK, PAPER, font, shortened

LEAST_HEIGHT = 256
LEAST_SHARE = 0.0005
"""Share of an image from which a class has a row in the legend: 0.1 % when rounded."""


def class_shares(labels: NDArray[np.integer], names: Sequence[str]) -> list[tuple[int, float]]:
    """Classes in a label map and the share of all its pixels they take (0..1), the largest first.

    Labels that are no index of `names`, such as 255 for ignored pixels, are left out.
    """
    indices, counts = np.unique(labels, return_counts=True)
    order = sorted(zip(counts.tolist(), indices.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    return [(index, count / labels.size) for count, index in order if 0 <= index < len(names)]


def draw_overlay(
    image: NDArray[np.uint8],
    labels: NDArray[np.integer],
    names: Sequence[str],
    *,
    alpha: float = 0.55,
    legend: bool = True,
    title: str = "",
    written: bool = False,
) -> NDArray[np.uint8]:
    """Blend a label map into an image, outline its regions, and put the words beside it.

    Args:
        image: RGB, [H, W, 3].
        labels: [H, W], indices of `names`; pixels with any other value stay as they are.
        names: the vocabulary that the labels index.
        alpha: weight of the class colours, 0..1.
        legend: whether to add the list of the words present, by area; those of less than 0.1 % together.
        title: a line above the legend.
        written: whether each class's word also stands on its region, where that is deepest.

    Returns:
        RGB uint8; [H, W, 3] without the legend. With it larger, and small images are enlarged by a whole
        factor, so that image and legend fit together.

    Raises:
        ValueError: if image and labels differ in size, or the image is not RGB uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"the image must be RGB uint8 [H, W, 3], not {image.dtype} {list(image.shape)}")
    if labels.shape != image.shape[:2]:
        raise ValueError(f"label map {list(labels.shape)} and image {list(image.shape[:2])} differ in size")
    colours = name_colours(names)
    known = (labels >= 0) & (labels < len(names))
    blended = image.astype(np.float32)
    blended[known] = (1 - alpha) * blended[known] + alpha * colours[labels[known]]
    blended[_outlines(labels, max(1, round(min(labels.shape) / 500)))] = 255
    drawn = blended.round().astype(np.uint8)
    enlarged = -(-LEAST_HEIGHT // drawn.shape[0]) if legend else 1
    drawn = drawn.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    if written:
        drawn = _write_words(drawn, labels, names, enlarged)
    if not legend:
        return drawn
    shares = class_shares(labels, names)
    rows = [(names[index], tuple(colours[index].tolist()), share) for index, share in shares]
    return beside(drawn, _draw_legend(rows, title, height=drawn.shape[0]))


def beside(*images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images [h, w, 3] in one row on white, tops aligned."""
    height = max(image.shape[0] for image in images)
    room = [((0, height - image.shape[0]), (0, 0), (0, 0)) for image in images]
    padded = [np.pad(*pair, constant_values=255) for pair in zip(images, room, strict=True)]
    return np.concatenate(padded, axis=1)


def _outlines(labels: NDArray[np.integer], width: int) -> NDArray[np.bool_]:
    """Lines ``width`` pixels wide along pixels whose right or lower neighbour has another label."""
    edges = np.zeros(labels.shape, bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges if width == 1 else maximum_filter(edges, width)


def _write_words(
    image: NDArray[np.uint8], labels: NDArray[np.integer], names: Sequence[str], enlarged: int
) -> NDArray[np.uint8]:
    """The image, ``enlarged`` times the label map, with each word on its region.

    The largest regions choose first; a word that would lie on another moves up or down.
    """
    drawn = Image.fromarray(image)
    draw = ImageDraw.Draw(drawn)
    size = int(np.clip(image.shape[0] / 36, 9, 96))
    letters, high = font(size), size / 2 + 3
    written: list[tuple[float, float, float, str]] = []  # middle, half the width, word
    for index, _ in class_shares(labels, names):
        depth = distance_transform_edt(np.pad(labels == index, 1))[1:-1, 1:-1]
        deepest = np.argwhere(depth == depth.max())
        y, x = (deepest[len(deepest) // 2] + 0.5) * enlarged
        name = shortened(names[index])
        half = letters.getlength(name) / 2 + 2
        x = min(max(x, half), max(drawn.width - half, half))
        beside = [other_y for other_y, other_x, other_half, _ in written if abs(x - other_x) < half + other_half]
        written.append((_free_line(y, beside, high, drawn.height), x, half, name))
    for y, x, _, name in reversed(written):
        draw.text((x, y), name, fill=PAPER, font=letters, anchor="mm", stroke_width=2, stroke_fill=INK)
    return np.asarray(drawn)


def _free_line(wanted: float, taken: Sequence[float], high: float, height: int) -> float:
    """The middle of a line of text nearest to the wanted one that no taken line covers; the wanted one if none is.

    Args:
        wanted: in pixels from the top.
        taken: middles of the lines that are there.
        high: half the height of a line.
        height: of the image.
    """
    places = [wanted, *(other + side * 2 * high for other in taken for side in (-1, 1))]
    free = [
        place
        for place in places
        if high <= place <= height - high and all(abs(place - other) >= 2 * high - 1e-6 for other in taken)
    ]
    return min(free, key=lambda place: abs(place - wanted), default=wanted)


def _draw_legend(
    rows: Sequence[tuple[str, tuple[int, ...], float]], title: str, *, height: int, most: int = 20
) -> NDArray[np.uint8]:
    """A white panel at least `height` high: title, then swatch, word and share of the first `most` rows, by share."""
    size = int(np.clip(height / 32, 12, 96))
    letters, step = font(size), round(size * 1.5)
    shown = [row for row in rows[:most] if row[2] >= LEAST_SHARE]
    entries = [(f"{shortened(name)}  {100 * share:.1f}%", colour) for name, colour, share in shown]
    if len(rows) > len(shown):
        rest = sum(share for _, _, share in rows[len(shown) :])
        percent = f"{100 * rest:.1f}%" if rest >= LEAST_SHARE else "<0.1%"
        entries.append((f"{len(rows) - len(shown)} more  {percent}", PAPER))
    heading = [title] if title else []
    texts = [text for text, _ in entries] + heading
    width = round(max((letters.getlength(text) for text in texts), default=0)) + 3 * step
    panel = Image.new("RGB", (width, max(height, step * (len(texts) + 1))), PAPER)
    draw = ImageDraw.Draw(panel)
    top = step // 2
    if title:
        draw.text((step // 2, top), title, fill=INK, font=letters)
        top += step
    for text, colour in entries:
        draw.rectangle((step // 2, top + 1, step // 2 + size, top + 1 + size), fill=colour)
        draw.text((2 * step, top), text, fill=INK, font=letters)
        top += step
    return np.asarray(panel)
