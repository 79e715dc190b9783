"""What `tools/prepare_dataset.py` can prepare, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hclip_mmseg.datasets.benchmarks import BENCHMARKS
from hclip_mmseg.datasets.preparation import ade20k, coco_stuff, ov_coco, panoptic, pascal, street_scenes
from hclip_mmseg.datasets.preparation.conversion import Conversion, LabelMapsError, carry_out
from hclip_mmseg.datasets.preparation.processes import Options


@dataclass(frozen=True)
class Preparation:
    """One data set's preparation.

    Attributes:
        name: what it is asked for by.
        layout: what must lie in its folder before, in a line.
        run: (folder, options) -> what was done, a line each; see :func:`~.conversion.carry_out` for the errors.
    """

    name: str
    layout: str
    run: Callable[[Path, Options], list[str]]


def _convert(plan: Callable[[Path], list[Conversion]], root: Path, options: Options) -> list[str]:
    lines, wrong = [], []
    for conversion in plan(root):
        try:
            lines += carry_out(conversion, options)
        except LabelMapsError as error:
            wrong.append(str(error))
    if wrong:
        raise LabelMapsError("\n".join(wrong))
    return lines


def _ov_coco(root: Path, options: Options) -> list[str]:
    if options.check:
        return ov_coco.check_ov_coco(root)
    return [f"wrote {path}" for path in ov_coco.prepare_ov_coco(root)]


PREPARATIONS = {
    one.name: one
    for one in (
        Preparation(
            "ade20k-847",
            "ADE20K_2021_17_01: index_ade20k.pkl and images/ADE/{training,validation}",
            partial(_convert, ade20k.ade20k_847),
        ),
        Preparation(
            "ade20k-150",
            "ADEChallengeData2016: images and annotations, each with training and validation; only checked",
            partial(_convert, ade20k.ade20k_150),
        ),
        Preparation(
            "pascal-context",
            "VOC2010: JPEGImages, trainval/*.mat, trainval_merged.json",
            partial(_convert, pascal.pascal_context),
        ),
        Preparation(
            "pascal-voc",
            "VOC2012: JPEGImages, SegmentationClass, ImageSets; only checked; with SBD in ../VOCaug/dataset or "
            "../benchmark_RELEASE/dataset its label maps are made",
            partial(_convert, pascal.pascal_voc),
        ),
        Preparation(
            "coco-stuff",
            "images/{train,val}2017/*.jpg, annotations/{train,val}2017/*.png of stuffthingmaps_trainval2017.zip",
            partial(_convert, coco_stuff.coco_stuff),
        ),
        Preparation(
            "cityscapes",
            "leftImg8bit/{train,val}/<city>, gtFine/{train,val}/<city>",
            partial(_convert, street_scenes.cityscapes),
        ),
        Preparation(
            "mapillary",
            "{training,validation}/{images,v1.2/labels} of version 2.0; only checked",
            partial(_convert, street_scenes.mapillary),
        ),
        Preparation(
            "coco-panoptic",
            "annotations/panoptic_{train,val}2017.json and folders of the same names; only checked",
            panoptic.coco_panoptic,
        ),
        Preparation(
            "ade20k-panoptic",
            "ADEChallengeData2016: images, annotations, annotations_instance, each with training and validation",
            panoptic.ade20k_panoptic,
        ),
        Preparation(
            "mapillary-panoptic",
            "{training,validation}/v1.2/panoptic of version 2.0; only checked",
            panoptic.mapillary_panoptic,
        ),
        Preparation("ov-coco", "annotations/instances_{train,val}2017.json", _ov_coco),
    )
}


def find_preparation(name: str) -> Preparation:
    """The preparation of that name, or of the benchmark of that name.

    Raises:
        KeyError: if there is none; the message lists those there are.
    """
    by_case = {key.lower(): benchmark.preparation for key, benchmark in BENCHMARKS.items()}
    known = by_case.get(name.lower(), name.lower())
    if known not in PREPARATIONS:
        raise KeyError(
            f"no preparation '{name}'; there are {', '.join(PREPARATIONS)}, and the benchmarks {', '.join(BENCHMARKS)}"
        )
    return PREPARATIONS[known]
