"""Label maps as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hclip_mmseg.files.writing import write_image
from hclip_mmseg.visualization.colours import name_colours
from hclip_mmseg.visualization.result_files import ResultFilesHook


def label_image(labels: NDArray[np.integer], names: Sequence[str]) -> Image.Image:
    """A label map [H, W] as a palette image in the class names' colours; of more than 255 names a 16-bit grey one.

    255 stands for no class and is black, 65535 in 16 bits.
    """
    if len(names) > 255:
        return Image.fromarray(labels.astype(np.uint16))
    image = Image.fromarray(labels.astype(np.uint8))
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(names)] = name_colours(names)
    image.putpalette(palette.tobytes())  # turns grey into palette; values stay
    return image


def write_label_map(
    path: str | Path, labels: NDArray[np.integer], names: Sequence[str], *, palette: bool = False
) -> None:
    """Write a label map as a PNG: of 8 bits up to 255 class names, where 255 is no class, else of 16.

    Args:
        path: the file; its folder is made if absent.
        labels: [H, W], indices of ``names``.
        names: the class names.
        palette: whether the file holds the class names' colours, and the names as a JSON list in its text
            "class names"; else it is grey.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if not palette:
        write_image(path, labels.astype(np.uint8 if len(names) <= 255 else np.uint16))
        return
    text = PngInfo()
    text.add_itxt("class names", json.dumps(list(names), ensure_ascii=False), zip=True)
    write_image(path, label_image(labels, names), pnginfo=text)


@HOOKS.register_module()
class LabelMapHook(ResultFilesHook):
    """Writes the label map of every tested image to `<folder>/<image's name>.png`; see `ResultFilesHook`."""

    ending = ".png"

    def write(self, path: Path, sample: SegDataSample, dataset: Any) -> None:
        """Write the map of a sample."""
        names = sample.metainfo.get("vocabulary") or dataset.metainfo["classes"]
        write_label_map(path, sample.pred_sem_seg.data[0].cpu().numpy(), names)
