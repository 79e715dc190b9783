"""Reading images, and refusing what is none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hclip_mmseg.files.image_names import IMAGE_SUFFIXES

CONVERTED = ("RGB", "1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr")


def list_images(sources: Iterable[str | Path]) -> list[Path]:
    """The files meant by a list of files and folders; of a folder its images, by name, not deeper.

    A file that does not exist stays in the list, so that it is reported where it is read.

    Raises:
        ValueError: if a folder holds no image.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if not source.is_dir():
            found.append(source)
            continue
        files = sorted(path for path in source.iterdir() if not path.is_dir())
        inside = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        if not inside:
            there = sorted({path.suffix.lower() or "no suffix" for path in files})
            found_there = f"its files have {', '.join(there[:8])}" if there else "it has no files"
            raise ValueError(f"the folder {source} holds no images ({', '.join(IMAGE_SUFFIXES)}); {found_there}")
        found += inside
    return found


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image, upright as its EXIF entry says.

    Grey, palette and CMYK images become RGB, and an alpha channel is left out. Images of other depth or
    meaning (16 bit, floating point, Lab) are refused: how to show them is the caller's choice.

    Returns:
        RGB uint8, [H, W, 3].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty, broken, no image, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no image at {path.absolute()}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        with Image.open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is no image, or of a format that cannot be read") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} is too large to be read at once; make it smaller or cut it: {error}") from error
    except MemoryError as error:
        raise ValueError(f"{path} takes more memory to read than there is; make it smaller, or cut it") from error
    except (OSError, SyntaxError, ValueError, RuntimeError, EOFError) as error:  # RuntimeError: of libavif
        raise ValueError(f"{path} is broken: {error}") from error
    if upright.mode not in CONVERTED:
        raise ValueError(
            f"{path} is of mode '{upright.mode}'; images of 8 bits in RGB, grey, palette or CMYK are read"
        )
    try:
        return np.array(upright.convert("RGB"))
    except MemoryError as error:
        raise ValueError(f"{path} takes more memory to read than there is; make it smaller, or cut it") from error


def check_array(image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Check that an array is an image in mmcv's form, BGR uint8 [H, W, 3], and return it as RGB.

    Raises:
        ValueError: if it is not; `name` says which.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"{name} must be BGR uint8 [H, W, 3], and is {image.dtype} {list(image.shape)}")
    return np.ascontiguousarray(image[..., ::-1])
