"""One page for many images."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from hclip_mmseg.files.writing import write_whole

STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222; }
nav a { margin-right: 1rem; }
figure { margin: 1rem 0; }
figcaption { margin-bottom: .3rem; max-width: 60rem; }
img { max-width: 100%; border: 1px solid #ddd; }
"""


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        heading: what it is about.
        figures: (caption, file name beside the page) of its images.
    """

    heading: str
    figures: Sequence[tuple[str, str]]


def write_gallery(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Writes a page that shows images by section; it needs no other file but those.

    Args:
        path: of the page; it appears whole or not at all.
        title: of the page.
        sections: in order.
    """
    links = "\n".join(f'<a href="#s{i}">{escape(section.heading)}</a>' for i, section in enumerate(sections))
    parts = []
    for number, section in enumerate(sections):
        parts.append(f'<h2 id="s{number}">{escape(section.heading)}</h2>')
        for caption, file in section.figures:
            source, alt = quote(file), escape(caption, quote=True)
            image = f'<a href="{source}"><img src="{source}" alt="{alt}" loading="lazy"></a>'
            parts.append(f"<figure><figcaption>{escape(caption)}</figcaption>{image}</figure>")
    body = "\n".join(parts)
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n<nav>{links}</nav>\n{body}\n</body></html>\n"
    )
    write_whole(path, page)
