"""Images read as numbers, and label maps written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hclip_mmseg.datasets.label_maps import decode_label_map
from hclip_mmseg.files.errors import one_line
from hclip_mmseg.files.writing import write_image

PNG_END = b"IEND\xaeB`\x82"

Labels = NDArray[np.integer]


def read_label_map(path: Path) -> Labels:
    """A grey or palette PNG as labels; raises ValueError if it is none."""
    return decode_label_map(path.read_bytes(), str(path))


def read_colours(path: Path) -> NDArray[np.uint8]:
    """An image of at least three colours of 8 bits, ``[H, W, colours]``; raises ValueError if it is none."""
    try:
        colours = np.asarray(Image.open(path))
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # what a damaged image makes its decoder raise is anybody's guess
        raise ValueError(f"{path} is no image, or a truncated one: {one_line(error)}") from error
    if colours.ndim != 3 or colours.shape[2] < 3 or colours.dtype != np.uint8:
        raise ValueError(f"{path} is no colour image of 8 bits")
    return colours


def is_whole(path: Path) -> bool:
    """Whether a PNG file is there to its end."""
    try:
        with path.open("rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:  # not there, or shorter than that
        return False


def save_whole(path: Path, labels: Labels) -> None:
    """Writes a grey PNG of 8 or 16 bits, or a coloured one of 8, whole or not at all."""
    write_image(path, labels)
