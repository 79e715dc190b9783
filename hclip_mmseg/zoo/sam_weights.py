"""Weights of the Segment Anything Model, by the names of the files that its authors publish."""

from __future__ import annotations

from pathlib import Path

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.home import home
from hclip_mmseg.zoo.download import brought

ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything/"
FILES = ("sam_vit_b_01ec64.pth", "sam_vit_l_0b3195.pth", "sam_vit_h_4b8939.pth")
"""Of the three sizes, in the package ``segment-anything``'s own form, which ``read_sam`` reads."""


def is_sam_file(path: object) -> bool:
    """Whether a path ends in the name of a published file."""
    return isinstance(path, str | Path) and Path(path).name in FILES


def sam_file(name: str, offline: bool = False) -> Path:
    """A published file, fetched where ``HCLIP_HOME`` has it not.

    Args:
        name: of the file, one of ``FILES``.
        offline: whether the network must not be used.

    Raises:
        ValueError: if no file is called so, or it cannot be had: which address, and where to put the file.
    """
    if name not in FILES:
        raise InputError(f"SAM's authors publish no file {name!r}; they publish {', '.join(FILES)}")
    return brought(name.partition(".")[0], ADDRESS + name, home() / "sam" / name, offline)
