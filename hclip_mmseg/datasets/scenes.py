"""The rendered scenes of the embedded default as a data set of MMSeg; no file is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from hclip_mmseg.datasets.classes_in_images import classes_in_image
from hclip_mmseg.demo_assets.scenes import HELD_OUT_NAMES, SCENE_CLASSES, TRAIN_NAMES, render_scene
from hclip_mmseg.visualization.colours import name_colours

# Pretraining renders the first few series at other sizes; these are far from them.
SERIES = {"train": 2**16, "val": 2**20}


@TRANSFORMS.register_module()
class RenderScene(BaseTransform):
    """Renders the scene that ``results['scene']`` describes; stands where an image and its labels are loaded.

    Required keys: ``scene`` (arguments of :func:`~hclip_mmseg.demo_assets.scenes.render_scene`),
    ``label_map``, ``seg_fields``. Added keys: ``img`` (BGR ``uint8 [H, W, 3]``, as mmcv loads images),
    ``img_shape``, ``ori_shape``, ``gt_seg_map`` (``uint8 [H, W]``), ``caption``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        scene = render_scene(**results["scene"])
        labels = scene.labels
        if results["label_map"] is not None:
            table = np.arange(256, dtype=np.uint8)
            for old, new in results["label_map"].items():
                table[old] = new
            labels = table[labels]
        results["img"] = np.ascontiguousarray(scene.image[..., ::-1])
        results["img_shape"] = results["ori_shape"] = scene.image.shape[:2]
        results["gt_seg_map"] = labels
        results["seg_fields"].append("gt_seg_map")
        results["caption"] = scene.caption
        return results


def rendering(pipeline: Sequence[Any]) -> list[Any]:
    """A pipeline that renders a scene where it says that an image is loaded from its file.

    So one pipeline serves scenes, which have no files, and whatever image MMSegmentation's and MMDetection's own
    inferencers are given, which look for ``LoadImageFromFile`` in a config's test pipeline.
    """
    return [
        dict(type="mmseg.RenderScene")
        if isinstance(step, Mapping) and str(step.get("type")).split(".")[-1] == "LoadImageFromFile"
        else step
        for step in pipeline
    ]


@DATASETS.register_module()
class SceneDataset(BaseSegDataset):
    """Scenes with exact masks, rendered when they are asked for.

    ``split='train'`` shows and names :data:`TRAIN_NAMES` only; ``split='val'`` mixes all names, and its
    metainfo tells under ``held_out`` which of them no training mask ever had. Labels are the same in both
    splits, since the training names come first. The pipeline begins with ``RenderScene``, or with
    ``LoadImageFromFile``, which stands for it here.

    Args:
        split: 'train' or 'val'.
        length: number of scenes.
        image_size: height and width in pixels.
        seed: which series of scenes; the splits never share one.
        num_objects: least and greatest number of objects in a scene.
        radius: least and greatest radius of an object in pixels.
        kwargs: of ``BaseSegDataset``.

    Raises:
        ValueError: the split is unknown, the length is not positive or the seed is out of range.
    """

    METAINFO = dict(
        classes=SCENE_CLASSES,
        palette=name_colours(SCENE_CLASSES).tolist(),
        held_out=HELD_OUT_NAMES,
    )

    def __init__(
        self,
        *,
        split: str,
        length: int,
        image_size: int = 192,
        seed: int = 0,
        num_objects: tuple[int, int] = (2, 4),
        radius: tuple[float, float] = (24.0, 42.0),
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        if split not in SERIES:
            raise ValueError(f"split {split!r} of the scenes does not exist; choose from {', '.join(SERIES)}")
        if length < 1:
            raise ValueError(f"a SceneDataset needs a length of at least 1, not {length}")
        if not 0 <= seed < SERIES["train"]:
            raise ValueError(f"the seed of a SceneDataset must be in 0..{SERIES['train'] - 1}, not {seed}")
        self.split, self.length = split, length
        self.names = TRAIN_NAMES if split == "train" else SCENE_CLASSES
        self.scene_arguments = dict(
            seed=SERIES[split] + seed,
            size=image_size,
            names=self.names,
            num_objects=tuple(num_objects),
            radius=tuple(radius),
        )
        if split == "train":
            kwargs["metainfo"] = {"classes": TRAIN_NAMES, "held_out": (), **(kwargs.get("metainfo") or {})}
        super().__init__(pipeline=rendering(pipeline), **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry a scene; ``img_path`` names it in results and images, there is no such file."""
        return [
            dict(
                img_path=f"scene_{self.split}_{index:05d}.png",
                scene=dict(self.scene_arguments, index=index),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for index in range(self.length)
        ]

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the classes that a scene shows."""
        return classes_in_image(self.get_data_info(idx), RenderScene(), len(self.metainfo["classes"]))
