"""OV-COCO as a data set of MMDetection; it is registered by ``hclip_mmseg.detection``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS

from hclip_mmseg.datasets.annotation_files import read_instances
from hclip_mmseg.visualization.colours import name_colours
from hclip_mmseg.vocabularies import Names, load_vocabulary, read_names

BASE = load_vocabulary("ov_coco_48").names


class NamedCOCO(COCO):
    """An instances file whose categories are read in the order of given names.

    MMDetection numbers labels in the order of the file's categories and leaves out what the file does not have.

    Args:
        annotation_file: its path.

    Raises:
        ValueError: see :func:`~hclip_mmseg.datasets.annotation_files.read_instances`.
    """

    def __init__(self, annotation_file: str | None = None) -> None:
        super().__init__()
        if annotation_file is None:
            return
        self.dataset = read_instances(annotation_file)
        with redirect_stdout(StringIO()):  # pycocotools prints its progress
            self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def get_cat_ids(
        self, cat_names: Sequence[str] = (), sup_names: Sequence[str] = (), cat_ids: Sequence[int] = ()
    ) -> list[int]:
        """Ids of the categories ``cat_names``, in that order.

        Raises:
            ValueError: if the file has no category of one of the names.
        """
        if not cat_names:
            return super().get_cat_ids(cat_names, sup_names, cat_ids)
        known = {category["name"]: category["id"] for category in self.dataset["categories"]}
        lacking = [name for name in cat_names if name not in known]
        if lacking:
            raise ValueError(
                f"the instances file has no categories {', '.join(lacking)} (it has {len(known)}: "
                f"{', '.join(list(known)[:5])} ...); it was prepared for other names"
            )
        return [known[name] for name in cat_names]


@DATASETS.register_module()
class OVCocoDataset(CocoDataset):
    """COCO 2017 with boxes of base names for training, and of base and novel names for validation.

    Boxes of all other names are never read, whatever the file holds. The metainfo tells under ``held_out`` which of
    the classes are novel. In test mode every annotation of the classes is kept, as COCO's own evaluation does, also
    those that MMDetection takes for too small to train on.

    Args:
        names: the classes: 'ov_coco_48' (base), 'ov_coco_17' (novel), 'ov_coco_65' (both), or the names; see
            :func:`~hclip_mmseg.vocabularies.read_vocabulary`.
        asked: what a model is asked for beside the classes, as ``names``; it stands behind them in metainfo
            ``vocabulary``. Such names compete for regions, and are not evaluated.
        kwargs: of MMDetection's ``CocoDataset``.

    Raises:
        ValueError: if ``names`` are no list of names, the file does not have them all, or is not in COCO's form.
    """

    COCOAPI = NamedCOCO
    HOW_TO_GET = (
        "COCO 2017: unpack train2017.zip, val2017.zip (images.cocodataset.org/zips) and "
        "annotations_trainval2017.zip (images.cocodataset.org/annotations) into one folder, then run "
        "python tools/prepare_dataset.py ov-coco --root FOLDER"
    )

    def __init__(
        self, *args: Any, names: Names = "ov_coco_65", asked: Names = (), **kwargs: Any
    ) -> None:
        classes = read_names(names)
        beside = tuple(name for name in (read_names(asked) if asked else ()) if name not in classes)
        kwargs["metainfo"] = {
            "classes": classes,
            "vocabulary": classes + beside,
            "palette": [tuple(colour) for colour in name_colours(classes).tolist()],
            "held_out": tuple(name for name in classes if name not in BASE),
            **(kwargs.get("metainfo") or {}),
        }
        super().__init__(*args, **kwargs)

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> dict[str, Any]:
        """See ``CocoDataset``."""
        info = super().parse_data_info(raw_data_info)
        if self.test_mode:
            info["instances"] = [
                dict(
                    bbox=[x, y, x + width, y + height],
                    bbox_label=self.cat2label[annotation["category_id"]],
                    ignore_flag=int(annotation.get("iscrowd", 0)),
                )
                for annotation in raw_data_info["raw_ann_info"]
                if annotation["category_id"] in self.cat2label
                for x, y, width, height in [annotation["bbox"]]
            ]
        return info
