"""Label maps of 8 and 16 bits as MMSeg's pipelines load them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmseg.registry import TRANSFORMS
from numpy.typing import NDArray
from PIL import Image

from hclip_mmseg.files.errors import InputError, one_line


def decode_label_map(content: bytes, source: str) -> NDArray[np.integer]:
    """The numbers in a grey or palette image of 8 or 16 bits.

    Args:
        content: of a PNG or TIFF file.
        source: its path, for messages.

    Returns:
        ``uint8`` or ``uint16`` ``[H, W]``.

    Raises:
        ValueError: if it is no such image, or a truncated one.
    """
    try:
        labels = np.asarray(Image.open(BytesIO(content)))
    except Exception as error:  # what a damaged image makes its decoder raise is anybody's guess
        raise InputError(f"{source} is no image, or a truncated one: {one_line(error)}") from error
    if labels.ndim != 2:
        channels = labels.shape[2]
        what = "grey with an alpha channel" if channels == 2 else f"an image of {channels} colour channels"
        raise InputError(
            f"{source} is {what}, not a label map: save the number of each pixel's class as grey (or palette) alone"
        )
    if labels.dtype in (np.uint8, np.uint16):
        return labels
    if labels.dtype.kind == "f" and (labels % 1 != 0).any():
        raise InputError(f"{source} holds {labels[labels % 1 != 0][0]:g}, and labels are whole numbers")
    if labels.dtype == bool or (0 <= labels.min() and labels.max() < 2**16):  # Pillow may read 16 bits as 32
        return labels.astype(np.uint16)
    raise InputError(f"{source} holds numbers from {labels.min()} to {labels.max()}, which are no labels of 16 bits")


def label_table(
    ignore_index: int, reduce_zero_label: bool, label_map: dict[int, int] | None
) -> NDArray[np.unsignedinteger]:
    """What every number of a file becomes.

    Args:
        ignore_index: label of pixels without a class; up to 255 labels are of 8 bits, else of 16.
        reduce_zero_label: whether 0 is no class, and every other number one too high.
        label_map: then number -> label; numbers that it lacks stay.

    Returns:
        ``uint8 [256]`` or ``uint16 [65536]``.
    """
    kind = np.uint8 if ignore_index < 256 else np.uint16
    numbers: NDArray[np.int64] = np.arange(np.iinfo(kind).max + 1)
    table = numbers.copy()
    if reduce_zero_label:
        table = np.where((numbers == 0) | (numbers == ignore_index), ignore_index, numbers - 1)
    reduced = table.copy()
    for number, label in (label_map or {}).items():
        table[reduced == number] = label
    return table.astype(kind)


def _check_size(labels: NDArray[np.integer], results: dict[str, Any]) -> None:
    """Check that a label map has the size of its image's file, where the image was loaded before it."""
    size = tuple(results.get("ori_shape", labels.shape)[:2])
    if labels.shape != size:
        raise InputError(
            f"the label map {results['seg_map_path']} is {labels.shape[1]} x {labels.shape[0]} pixels, its image "
            f"{results.get('img_path')} is {size[1]} x {size[0]}: they must have one size"
        )


@TRANSFORMS.register_module()
class LoadLabelMap(BaseTransform):
    """Loads a label map of 8 or 16 bits; stands where MMSeg's ``LoadAnnotations``, which keeps 8 bits, would.

    Required keys: ``seg_map_path``, ``seg_fields``, ``label_map``, ``reduce_zero_label``, and ``ignore_index``, which
    is 255 where it is absent.
    A sample without ``seg_map_path``, of a test set without label maps, stays as it is. Where there is ``label_shape``,
    (H, W), labels are brought to it by the nearest pixel.
    Added key: ``gt_seg_map``, ``uint8 [H, W]`` where ``ignore_index`` is at most 255, else
    ``uint16``.

    Args:
        backend_args: of mmengine's file backends.
    """

    def __init__(self, backend_args: dict[str, Any] | None = None) -> None:
        self.backend_args = backend_args
        self._key: tuple[Any, ...] | None = None
        self._table: NDArray[np.unsignedinteger] = np.empty(0, np.uint8)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class.

        Raises:
            ValueError: if the file is missing or no label map, has not its image's size, or needs more bits than the
                data set's labels have.
        """
        path = results.get("seg_map_path")
        if path is None:
            return results
        try:
            content = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError as error:
            raise InputError(f"the label map {path} of {results.get('img_path')} is missing") from error
        numbers = decode_label_map(content, path)
        if "label_shape" not in results:  # else it is brought to the size of the reduced image
            _check_size(numbers, results)
        table = self._table_for(results)
        if len(table) < 2**16 and numbers.dtype != np.uint8 and np.max(numbers, initial=0) >= len(table):
            most = np.max(numbers)
            raise InputError(f"{path} holds the label {most}, but labels up to {len(table) - 1} are expected")
        labels = table[numbers]
        if "label_shape" in results:
            labels = mmcv.imresize(labels, results["label_shape"][::-1], interpolation="nearest")
        results["gt_seg_map"] = labels
        results["seg_fields"].append("gt_seg_map")
        return results

    def _table_for(self, results: dict[str, Any]) -> NDArray[np.unsignedinteger]:
        label_map = results.get("label_map")
        key = (
            results.get("ignore_index", 255),
            bool(results.get("reduce_zero_label")),
            None if label_map is None else tuple(label_map.items()),
        )
        if key != self._key:
            self._key, self._table = key, label_table(key[0], key[1], label_map)
        return self._table

    def __repr__(self) -> str:
        return f"{type(self).__name__}(backend_args={self.backend_args})"
