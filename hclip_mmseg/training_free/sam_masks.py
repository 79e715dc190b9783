"""Label maps corrected by masks that the Segment Anything Model has made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmseg.registry import MODELS
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from hclip_mmseg.files.errors import one_line
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.paths import locate, looked_in
from hclip_mmseg.files.run_lengths import compressed_run_lengths
from hclip_mmseg.training_free.refinement import Evidence


def read_masks(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Masks of one image.

    Args:
        path: what SAM's automatic generator writes with run lengths (its ``scripts/amg.py --convert-to-rle``): a JSON
            list of entries with ``segmentation``; or a NumPy file of [masks, H, W].
        size: height and width that masks must have; None: whatever they say, up to
            ``files.run_lengths.MOST_PIXELS``. Nothing is allocated for others.

    Returns:
        [masks, H, W]; of no mask, perhaps [0, 0, 0].

    Raises:
        ValueError: if it holds no list of masks of one size.
    """
    try:
        if path.suffix == ".npy":
            loaded = np.load(path, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                raise ValueError("it is an archive of several arrays")
            masks = loaded != 0
        else:
            entries = read_json(path)
            masks = [_decode(entry, number, size) for number, entry in enumerate(entries)]
            masks = np.stack(masks) if masks else np.zeros((0, 0, 0), bool)
    except FileNotFoundError:
        raise
    except Exception as error:  # what a damaged file makes its reader raise is anybody's guess
        raise ValueError(f"{path} holds no masks of one image with run lengths: {one_line(error)}") from error
    if masks.ndim != 3:
        raise ValueError(f"{path} must hold masks of [masks, H, W], and holds {list(masks.shape)}")
    return masks


def _decode(entry: Mapping[str, Any], number: int, wanted: tuple[int, int] | None) -> NDArray[np.bool_]:
    """A mask [H, W] from the run lengths of the entry of a number."""
    mask = entry["segmentation"]
    try:
        runs = compressed_run_lengths(mask)
    except ValueError as error:
        raise ValueError(f"mask {number}: {error}") from error
    rows, columns = runs["size"]
    if wanted is not None and (rows, columns) != wanted:
        raise ValueError(
            f"a mask is of {rows} x {columns} pixels, its image of {wanted[0]} x {wanted[1]}; they must be made for "
            "the same image"
        )
    return coco_mask.decode(runs) != 0


def relabel(labels: Tensor, masks: Tensor, classes: int) -> Tensor:
    """Gives every mask the label that most of its pixels have; a smaller mask stands before a larger one.

    Args:
        labels: int64 [H, W], 0 to classes - 1.
        masks: bool [masks, H, W].
        classes: number of labels.

    Returns:
        int64 [H, W]; pixels of no mask keep their label.
    """
    result = labels.clone()
    for mask in sorted(masks, key=lambda mask: int(mask.sum()), reverse=True):
        if mask.any():
            result[mask] = torch.bincount(labels[mask], minlength=classes).argmax()
    return result


@MODELS.register_module()
class SAMMaskFolder:
    """Corrects the label map of each image by the masks in a file with the image's name.

    Args:
        folder: ``<image>.json`` or ``<image>.npy``; see :func:`read_masks`.

    Raises:
        FileNotFoundError: if there is no such folder.
    """

    def __init__(self, folder: str) -> None:
        found = locate(folder)
        if found is None or not found.is_dir():
            raise FileNotFoundError(f"no folder of SAM's masks: looked for at {looked_in(folder)}")
        self.folder = found

    def __call__(self, labels: Tensor, evidence: Evidence) -> Tensor:
        """The corrected label map.

        Args:
            labels: int64 [H, W].
            evidence: of the image: the number of classes, ``img_path``, and ``clip_crop`` where
                :class:`~.clip_crop.CLIPCrop` cut it.

        Raises:
            FileNotFoundError: if the image has no masks.
            ValueError: if they are of another size.
        """
        metainfo = evidence.metainfo
        stem = Path(metainfo["img_path"]).stem
        paths = [self.folder / f"{stem}{suffix}" for suffix in (".json", ".npy")]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"no masks of {metainfo['img_path']}: neither {paths[0]} nor {paths[1].name}")
        crop, own = metainfo.get("clip_crop"), (labels.shape[0], labels.shape[1])
        found = torch.from_numpy(read_masks(path, own if crop is None else None))
        if len(found) == 0:  # an even image
            return labels
        masks = _cropped(found, crop, own)
        if masks.shape[1:] != labels.shape:
            raise ValueError(
                f"the masks in {path} are of {tuple(masks.shape[1:])} pixels, the labels of {tuple(labels.shape)}; "
                "they must be made for the same image"
            )
        return relabel(labels, masks.to(labels.device), evidence.classes)


def _cropped(masks: Tensor, crop: tuple[int, int, int, int] | None, size: tuple[int, int]) -> Tensor:
    if crop is None:
        return masks
    height, width, top, left = crop
    resized = torch.nn.functional.interpolate(masks[None].float(), size=(height, width), mode="nearest-exact")[0]
    return resized[:, top : top + size[0], left : left + size[1]] > 0.5
