"""Reading images, and refusing what is none."""

from __future__ import annotations

import glob
import http.client
import io
import os
import sys
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.image_names import IMAGE_SUFFIXES
from hclip_mmseg.files.images import as_rgb, read_pixels
from hclip_mmseg.files.near_names import did_you_mean
from hclip_mmseg.files.paths import check_path

STDIN = "-"
"""The source that stands for an image on the standard input."""
LONGEST_DOWNLOAD = 1 << 27
"""Bytes of the largest image that is read from the network."""
PATIENCE = 30
"""Seconds that a server may be silent."""


def list_images(sources: Iterable[str | Path], recursive: bool = False) -> list[str | Path]:
    """The images meant by a list of files, folders, patterns and addresses; of a folder its images, by name.

    A file that does not exist stays in the list, so that it is reported where it is read; so do http addresses and
    "-", the standard input.

    Args:
        sources: of images; a pattern holds ``*``, ``?`` or ``[...]``, and ``**`` stands for folders of any depth; a
            file or folder may be given by its ``file://`` address.
        recursive: whether the folders inside a folder are looked into.

    Raises:
        ValueError: if a folder holds no image, a pattern fits none, or a source is empty or no path.
    """
    found: list[str | Path] = []
    for source in map(_of_file_address, sources):
        if not isinstance(source, (str, os.PathLike)):
            kind = type(source).__name__
            raise InputError(f"an image is a path, an address, an array, a tensor or Pillow's, and not of type {kind}")
        check_path(source, "give an image, a folder, a pattern or an address")
        if is_address(source) or source == STDIN:
            found.append(source)
        elif Path(source).is_dir():
            found += _inside(Path(source), recursive)
        elif glob.has_magic(str(source)) and not Path(source).exists():
            fitting = sorted(path for path in map(Path, glob.glob(str(source), recursive=True)) if not path.is_dir())
            if not fitting:
                raise ValueError(f"no file fits the pattern {source}")
            found += fitting
        else:
            found.append(Path(source))
    return found


def _inside(folder: Path, recursive: bool) -> list[Path]:
    files = sorted(path for path in (folder.rglob("*") if recursive else folder.iterdir()) if not path.is_dir())
    inside = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not inside:
        there = sorted({path.suffix.lower() or "no suffix" for path in files})
        found_there = f"its files have {', '.join(there[:8])}" if there else "it has no files"
        deeper = any(path.is_dir() for path in folder.iterdir()) and not recursive
        hint = "; its folders are looked into with --recursive" if deeper else ""
        raise ValueError(f"the folder {folder} holds no images ({', '.join(IMAGE_SUFFIXES)}); {found_there}{hint}")
    return inside


def check_some(sources: Sequence[str | Path]) -> None:
    """Check, before a model is opened for them, that not all images are files that do not exist.

    Args:
        sources: as `list_images` gives them.

    Raises:
        FileNotFoundError: if all are; the first.
    """
    if sources and not any(isinstance(source, str) or source.exists() for source in sources):
        raise FileNotFoundError(_absent(Path(sources[0])))


def _absent(path: Path) -> str:
    """That there is no such image, and what is there that is called much like it."""
    folder = path.parent
    beside = [file.name for file in folder.iterdir()] if folder.is_dir() and os.access(folder, os.R_OK) else []
    return f"no image at {path.absolute()}{did_you_mean(path.name, beside, say=lambda name: str(path.with_name(name)))}"


def _of_file_address(source: str | Path) -> str | Path:
    """The path that a ``file://`` address means; other sources as they are.

    Raises:
        ValueError: for a file of another machine.
    """
    if not isinstance(source, str) or not source.lower().startswith("file:/"):
        return source
    path, machine = source.partition(":")[2], ""
    if path.startswith("//"):
        machine, separator, inside = path[2:].partition("/")
        path = separator + inside
    if machine not in ("", "localhost"):
        raise InputError(f"{source} is a file of the machine '{machine}': one of this machine is file:///PATH")
    return Path(urllib.request.url2pathname(path))


def is_address(source: object) -> bool:
    """Whether a source is an http address."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def read_image(source: str | Path) -> NDArray[np.uint8]:
    """Read an image, upright as its EXIF entry says; see :func:`~hclip_mmseg.files.images.read_pixels`.

    Args:
        source: a file, its ``file://`` address, an http address, or "-" for the standard input.

    Returns:
        RGB uint8, [H, W, 3].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty, broken, no image, of another kind, or cannot be fetched.
    """
    source = _of_file_address(source)
    if is_address(source):
        return read_pixels(io.BytesIO(_fetch(str(source))), str(source))
    if source == STDIN:
        content = sys.stdin.buffer.read()
        if not content:
            raise ValueError("the standard input is empty: give an image by < FILE, or through a pipe")
        return read_pixels(io.BytesIO(content), "the standard input")
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(_absent(path))
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    return read_pixels(path, path)


def _fetch(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            content: bytes = answer.read(LONGEST_DOWNLOAD + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:  # a wrong address is a ValueError
        raise ValueError(f"{address} cannot be fetched: {error}") from error
    if len(content) > LONGEST_DOWNLOAD:
        raise ValueError(f"{address} is larger than {LONGEST_DOWNLOAD >> 20} MiB; download and cut it")
    return content


def pixels_of(image: str | Path | NDArray[np.uint8] | Image.Image | Tensor, name: str) -> NDArray[np.uint8]:
    """An image in any form as RGB uint8 [H, W, 3].

    Args:
        image: a source as of :func:`read_image`; an array as `mmcv.imread` gives it (BGR uint8 [H, W, 3]); an image of
            Pillow's; or a tensor as torchvision has it (RGB [3, H, W], uint8, or floating point in 0..1).
        name: what errors call an image that is no file.

    Raises:
        FileNotFoundError, ValueError: if it is none.
    """
    if isinstance(image, np.ndarray):
        return check_array(image, name)
    if isinstance(image, Tensor):
        return _of_tensor(image, name)
    if isinstance(image, Image.Image):
        return as_rgb(image, name)
    return read_image(image)


def _of_tensor(image: Tensor, name: str) -> NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise ValueError(f"{name} must be a tensor of RGB [3, H, W], and is {list(image.shape)}")
    pixels = image.detach().cpu()
    if pixels.dtype != torch.uint8:
        if not pixels.is_floating_point() or not 0 <= float(pixels.min()) <= float(pixels.max()) <= 1:
            raise ValueError(f"{name} must be a tensor of uint8, or of floating point in 0..1; is it normalised?")
        pixels = (pixels.float() * 255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def check_array(image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Check that an array is an image in mmcv's form, BGR uint8 [H, W, 3], and return it as RGB.

    Raises:
        ValueError: if it is not; `name` says which.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"{name} must be BGR uint8 [H, W, 3], and is {image.dtype} {list(image.shape)}")
    return np.ascontiguousarray(image[..., ::-1])
