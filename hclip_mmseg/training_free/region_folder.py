"""Regions of images, made by any mask model before, read from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.datasets.label_maps import decode_label_map
from hclip_mmseg.files.paths import locate, looked_in
from hclip_mmseg.models.score_maps import unflipped
from hclip_mmseg.training_free.refinement import Evidence
from hclip_mmseg.training_free.regions import PixelRegions, sampled, vote
from hclip_mmseg.training_free.sam_masks import read_masks

SUFFIXES = (".png", ".npy", ".json")
PAINTED = ("smaller", "larger")


@MODELS.register_module()
class RegionFolder:
    """Regions of each image from a file with the image's name, such as SAM's, Mask2Former's or EntitySeg's.

    As ``refinement`` of the segmentor every region takes the label that most of its pixels have (CorrCLIP, section
    3.5); as ``regions`` of :class:`~.region_scope.RegionScope` they bound the attention.

    Args:
        folder: ``<image>.png``, numbers of regions in 8 or 16 bits; ``<image>.npy`` of [H, W] numbers or [masks, H, W];
            or ``<image>.json``, masks with run lengths. 0 is no region.
        on_top: which of two masks that overlap has the pixel: 'smaller', or 'larger' as in CorrCLIP's code.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: on another ``on_top``.
    """

    def __init__(self, folder: str, on_top: str = "smaller") -> None:
        found = locate(folder)
        if found is None or not found.is_dir():
            raise FileNotFoundError(f"no folder of regions: looked for at {looked_in(folder)}")
        if on_top not in PAINTED:
            raise ValueError(f"on_top must be one of {', '.join(PAINTED)}, not {on_top!r}")
        self.folder, self.on_top = found, on_top

    def read(self, metainfo: Mapping[str, Any], size: tuple[int, int] | None = None) -> Tensor:
        """Numbers of the regions of an image, int64 [H, W], 0 for none.

        Args:
            metainfo: of the image: ``img_path``.
            size: height and width that the regions must have; None: whatever the file has.

        Raises:
            FileNotFoundError: if the image has no regions.
            ValueError: if the file holds none, or regions of another size.
        """
        stem = Path(metainfo["img_path"]).stem
        paths = [self.folder / f"{stem}{suffix}" for suffix in SUFFIXES]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(
                f"no regions of {metainfo['img_path']}: no {stem}.png, .npy or .json in {self.folder}"
            )
        numbers = self._numbers(path)
        if numbers.shape == (0, 0) and size is not None:
            numbers = torch.zeros(size, dtype=torch.long)
        if size is not None and tuple(numbers.shape) != tuple(size):
            raise ValueError(
                f"the regions in {path} are of {tuple(numbers.shape)} pixels, their image of {tuple(size)}; they must "
                "be made for the same image"
            )
        return numbers

    def _numbers(self, path: Path) -> Tensor:
        if path.suffix == ".png":
            return torch.from_numpy(decode_label_map(path.read_bytes(), str(path)).astype(np.int64))
        if path.suffix == ".npy":
            try:
                loaded = np.load(path, allow_pickle=False)
            except (ValueError, EOFError, OSError) as error:
                raise ValueError(f"{path} holds no array of regions: {error}") from error
            if isinstance(loaded, np.ndarray) and loaded.ndim == 2 and np.issubdtype(loaded.dtype, np.integer):
                return torch.from_numpy(loaded.astype(np.int64))
        masks = read_masks(path)
        order = sorted(range(len(masks)), key=lambda index: int(masks[index].sum()), reverse=self.on_top == "smaller")
        numbers = np.zeros(masks.shape[1:], np.int64)
        for number, index in enumerate(order, 1):
            numbers[masks[index]] = number
        return torch.from_numpy(numbers)

    def __call__(self, labels: Tensor, evidence: Evidence) -> Tensor:
        """The label map [H, W] in which every region has one label; pixels of no region keep theirs."""
        regions = self.read(evidence.metainfo, (labels.shape[0], labels.shape[1])).to(labels.device)
        present, dense = regions.unique(return_inverse=True)
        return vote(labels, PixelRegions(dense, len(present)), evidence.classes).where(regions != 0, labels)

    def at(self, size: tuple[int, int], metainfo: Mapping[str, Any]) -> Tensor:
        """Numbers of the regions in the image as the model sees it, flipped where it is, nearest at ``size``.

        As CorrCLIP's code samples them: the pixel that a pixel of ``size`` begins at, places rounded down.
        """
        numbers = unflipped(self.read(metainfo), metainfo)
        if numbers.numel() == 0:
            return torch.zeros(size, dtype=torch.long)
        return sampled(numbers, size)
