"""Images as pixels: what every part of the project reads them by."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hclip_mmseg.files.errors import InputError, one_line

CONVERTED = ("RGB", "1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr")
"""Pillow's modes of 8 bits that are read; of 16 bits, grey is."""


def read_pixels(file: str | Path | BinaryIO, source: str | Path, upright: bool = True) -> NDArray[np.uint8]:
    """Read an image by Pillow.

    Grey, palette and CMYK images become RGB, an alpha channel is left out, and of 16 bits of grey the upper 8 are
    taken, as OpenCV takes them. Floating point, 32 bits and Lab are refused: how to show them is the caller's choice.

    Args:
        file: path, or the file opened for reading bytes.
        source: what errors call it.
        upright: whether it is turned as its EXIF entry says.

    Returns:
        RGB uint8, [H, W, 3].

    Raises:
        ValueError: if it is broken, no image, too large, or of another kind.
    """
    try:
        with Image.open(file) as image:
            image.load()
            return as_rgb(image, source, upright)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{source} is no image, or of a format that cannot be read") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{source} is too large to be read at once; make it smaller or cut it: {error}") from error
    except MemoryError as error:
        raise InputError(f"{source} takes more memory to read than there is; make it smaller, or cut it") from error
    except Exception as error:  # what a damaged image makes its decoder raise is anybody's guess
        raise InputError(f"{source} is broken: {one_line(error)}") from error


def as_rgb(image: Image.Image, source: str | Path, upright: bool = True) -> NDArray[np.uint8]:
    """The pixels of an image of Pillow's, as :func:`read_pixels` gives them.

    Raises:
        ValueError: if it is of a kind that is not read.
    """
    turned = ImageOps.exif_transpose(image) if upright else image
    if turned.mode.startswith("I"):
        turned = Image.fromarray(_upper_bits(np.asarray(turned), source))
    if turned.mode in CONVERTED:
        return np.array(turned.convert("RGB"))
    raise InputError(
        f"{source} is of mode '{turned.mode}'; images of 8 bits in RGB, grey, palette or CMYK, and grey ones of 16 "
        "bits, are read"
    )


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width that the header of an image's file says.

    Raises:
        FileNotFoundError, PermissionError: if there is no such file, or it may not be read.
        ValueError: if it is no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise InputError(f"{path} is no image, or a truncated one") from error


def _upper_bits(numbers: NDArray[np.integer], source: str | Path) -> NDArray[np.uint8]:
    """The upper 8 of 16 bits; Pillow gives some images of 16 bits as 32."""
    if np.min(numbers, initial=0) < 0 or np.max(numbers, initial=0) >= 2**16:
        raise InputError(f"{source} holds numbers from {np.min(numbers)} to {np.max(numbers)}, more than 16 bits")
    return (numbers >> 8).astype(np.uint8)
