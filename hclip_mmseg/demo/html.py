"""A result as HTML: an SVG whose regions, segments and boxes say their names under the mouse, and a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hclip_mmseg.results import Result
from hclip_mmseg.results.coco import polygons_of
from hclip_mmseg.visualization import name_colours
from hclip_mmseg.visualization.overlay import LEAST_SHARE

STYLE = (
    ".region{fill-opacity:.5;stroke:#fff;stroke-width:.7}.region:hover{fill-opacity:.15}"
    ".box{fill-opacity:0;stroke-width:2}.box:hover{fill-opacity:.3}"
)
SWATCH = (
    '<span class="swatch" style="background:{};display:inline-block;width:1em;height:1em;margin-right:.6em"></span>'
)


def hover_svg(result: Result, min_score: float = 0.3) -> str:
    """The image with what was found, as SVG in HTML; browsers show a name where the mouse rests.

    Args:
        result: of any model.
        min_score: least score of the boxes that are drawn.
    """
    height, width = result.image.shape[:2]
    shapes = "".join(_boxes(result.above(min_score)) if result.boxes is not None else _regions(result))
    return (
        f'<svg class="found" viewBox="0 0 {width} {height}" style="width:100%;max-height:70vh" role="img">'
        f'<style>{STYLE}</style><image href="{_data_url(result.image)}" width="{width}" height="{height}"/>'
        f"{shapes}</svg>"
    )


def result_table(result: Result) -> str:
    """Class names with their colours, their share of the image or number of boxes, and their highest score.

    Those found come first.
    """
    colours = dict(zip(result.vocabulary, _hexadecimal(result), strict=True))
    if result.boxes is not None:
        counts = np.bincount(result.boxes.labels, minlength=len(result.vocabulary)).tolist()
        found = dict(zip(result.vocabulary, counts, strict=True))
        rows = [(name, str(found[name]), f"{score:.2f}") for name, score in result.best().items()]
        headings = ("class name", "boxes", "highest score")
    else:
        shares = result.shares()
        order = [*shares, *(name for name in result.vocabulary if name not in shares)]
        highest = {name: f"{score:.2f}" for name, score in result.presence.items()}
        found_in = {name: f"{share:.1%}" if share >= LEAST_SHARE else "<0.1%" for name, share in shares.items()}
        rows = [(name, found_in.get(name, "not found"), highest.get(name, "")) for name in order]
        headings = ("class name", "share of the image", "highest score")
    body = "".join(_row("td", row, SWATCH.format(colours[row[0]])) for row in rows)
    return f"<table><thead>{_row('th', headings)}</thead><tbody>{body}</tbody></table>"


def _row(kind: str, cells: Sequence[str], before: str = "") -> str:
    inside = f"</{kind}><{kind}>".join(map(escape, cells))
    return f"<tr><{kind}>{before}{inside}</{kind}></tr>"


def _regions(result: Result) -> Iterator[str]:
    colours = _hexadecimal(result)
    shares = result.shares()
    if result.ids is not None:
        for segment in result.segments:
            yield _path(result.ids == segment.id, colours[segment.label], segment.title, segment.share)
        return
    assert result.labels is not None
    for index, name in enumerate(result.vocabulary):
        if name in shares:
            yield _path(result.labels == index, colours[index], name, shares[name])


def _path(mask: NDArray[np.bool_], colour: str, title: str, share: float) -> str:
    lines = [
        "M" + "L".join(f"{x:g},{y:g}" for x, y in zip(polygon[::2], polygon[1::2], strict=True)) + "Z"
        for polygon in polygons_of(mask)
    ]
    said = f"<title>{escape(title)}, {share:.1%}</title>"
    return f'<path class="region" d="{"".join(lines)}" fill="{colour}" stroke="{colour}">{said}</path>'


def _boxes(result: Result) -> Iterator[str]:
    assert result.boxes is not None
    colours = _hexadecimal(result)
    found = zip(result.boxes.corners.tolist(), result.boxes.labels.tolist(), result.boxes.scores.tolist(), strict=True)
    for (x1, y1, x2, y2), label, score in found:
        said = f"<title>{escape(result.vocabulary[label])}, {score:.2f}</title>"
        place = f'x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"'
        yield f'<rect class="box" {place} fill="{colours[label]}" stroke="{colours[label]}">{said}</rect>'


def _hexadecimal(result: Result) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in name_colours(result.vocabulary).tolist()]


def _data_url(image: NDArray[np.uint8]) -> str:
    written = io.BytesIO()
    Image.fromarray(image).save(written, "JPEG", quality=92)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
