"""The benchmarks that models are compared on: each one's config, names and prepared files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hclip_mmseg.files.paths import configs_folder


@dataclass(frozen=True)
class Benchmark:
    """A data set as one column of the papers' tables.

    Attributes:
        name: what it is asked for by, such as 'A-847'.
        heading: its column in the papers' tables.
        config: a file in configs/_base_/datasets that has ``test_dataloader`` and ``test_evaluator``.
        vocabulary: name of the list that the model is asked for; see ``load_vocabulary``.
        data_root: its folder as the config has it, relative to the working directory or the project's folder.
        prepared: patterns of files and folders below ``data_root``; once each has a match, it can be read.
        preparation: what ``tools/prepare_dataset.py`` knows it by.
        scope: whose registries the types in its config are looked for in, 'mmseg' or 'mmdet' (panoptic ones).
    """

    name: str
    heading: str
    config: str
    vocabulary: str
    data_root: str
    prepared: tuple[str, ...]
    preparation: str
    scope: str = "mmseg"

    @property
    def panoptic(self) -> bool:
        """Whether it asks for segments, which not every model gives."""
        return self.scope == "mmdet"

    @property
    def config_path(self) -> Path:
        """The config file.

        Raises:
            FileNotFoundError: if there is no such file.
        """
        path = configs_folder() / "_base_/datasets" / self.config
        if not path.is_file():
            raise FileNotFoundError(
                f"no config {path} of the benchmark {self.name}: install the package again, or run it from a copy of "
                "the whole project"
            )
        return path

    def missing(self, root: str | Path) -> list[Path]:
        """What of the prepared data is not in a folder, which stands for ``data_root``."""
        return [Path(root) / pattern for pattern in self.prepared if next(Path(root).glob(pattern), None) is None]


def _by_name(benchmarks: Iterable[Benchmark]) -> dict[str, Benchmark]:
    return {benchmark.name: benchmark for benchmark in benchmarks}


ADE_FULL, ADE = "data/ade/ADE20K_2021_17_01", "data/ade/ADEChallengeData2016"
VOC10, VOC12 = "data/VOCdevkit/VOC2010", "data/VOCdevkit/VOC2012"
COCO_STUFF, CITYSCAPES, MAPILLARY = "data/coco_stuff164k", "data/cityscapes", "data/mapillary"

ADE_FULL_READ = ("images/ADE/validation", "labels_847/validation.txt")
ADE_READ = ("images/validation/*.jpg", "annotations/validation/*.png")
CONTEXT_459_READ = ("JPEGImages", "SegmentationClassContext459", "ImageSets/SegmentationContext/val.txt")
CONTEXT_READ = ("JPEGImages", "SegmentationClassContext", "ImageSets/SegmentationContext/val.txt")
VOC_READ = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation/val.txt")
STUFF_READ = ("images/val2017/*.jpg", "annotations/val2017/*_labelTrainIds.png")
CITYSCAPES_READ = ("leftImg8bit/val", "gtFine/val/*/*_gtFine_labelTrainIds.png")
CITYSCAPES_27_READ = ("leftImg8bit/val", "gtFine/val/*/*_gtFine_labelIds.png")
MAPILLARY_READ = ("validation/images/*.jpg", "validation/v1.2/labels/*.png")

COCO = "data/coco"
COCO_PANOPTIC_READ = ("val2017/*.jpg", "annotations/panoptic_val2017.json", "annotations/panoptic_val2017/*.png")
ADE_PANOPTIC_READ = ("images/validation/*.jpg", "ade20k_panoptic_val.json", "ade20k_panoptic_val/*.png")
MAPILLARY_PANOPTIC_READ = (
    "validation/images/*.jpg",
    "validation/v1.2/panoptic/panoptic_2018.json",
    "validation/v1.2/panoptic/*.png",
)

BENCHMARKS = _by_name(
    Benchmark(name, name, config, vocabulary, root, prepared, preparation, *scope)
    for name, config, vocabulary, root, prepared, preparation, *scope in (
        ("A-847", "ade20k-847.py", "ade20k_847", ADE_FULL, ADE_FULL_READ, "ade20k-847"),
        ("PC-459", "pascal-context-459.py", "pascal_context_459", VOC10, CONTEXT_459_READ, "pascal-context"),
        ("A-150", "ade20k-150.py", "ade20k_150", ADE, ADE_READ, "ade20k-150"),
        ("PC-59", "pascal-context-59.py", "pascal_context_59", VOC10, CONTEXT_READ, "pascal-context"),
        ("PC-60", "pascal-context-60.py", "pascal_context_60", VOC10, CONTEXT_READ, "pascal-context"),
        ("PAS-20", "pascal-voc-20.py", "pascal_voc_20", VOC12, VOC_READ, "pascal-voc"),
        ("PAS-20b", "pascal-voc-20b.py", "pascal_voc_20b", VOC12, VOC_READ, "pascal-voc"),
        ("VOC21", "pascal-voc-21.py", "pascal_voc_21", VOC12, VOC_READ, "pascal-voc"),
        ("COCO-Object", "coco-object.py", "coco_object_81", COCO_STUFF, STUFF_READ, "coco-stuff"),
        ("COCO-Stuff", "coco-stuff_384x384.py", "coco_stuff_171", COCO_STUFF, STUFF_READ, "coco-stuff"),
        ("COCO-27", "coco-27.py", "coco_27", COCO_STUFF, STUFF_READ, "coco-stuff"),
        ("Cityscapes-27", "cityscapes-27.py", "cityscapes_27", CITYSCAPES, CITYSCAPES_27_READ, "cityscapes"),
        ("Cityscapes", "cityscapes.py", "cityscapes_19", CITYSCAPES, CITYSCAPES_READ, "cityscapes"),
        ("Mapillary", "mapillary.py", "mapillary_65", MAPILLARY, MAPILLARY_READ, "mapillary"),
        (
            *("COCO-panoptic", "coco-panoptic_1024x1024.py", "coco_panoptic_133"),
            *(COCO, COCO_PANOPTIC_READ, "coco-panoptic", "mmdet"),
        ),
        (
            *("ADE20K-panoptic", "ade20k-panoptic.py", "ade20k_150"),
            *(ADE, ADE_PANOPTIC_READ, "ade20k-panoptic", "mmdet"),
        ),
        (
            *("Mapillary-panoptic", "mapillary-panoptic.py", "mapillary_panoptic_65"),
            *(MAPILLARY, MAPILLARY_PANOPTIC_READ, "mapillary-panoptic", "mmdet"),
        ),
    )
)
"""Name -> benchmark, in the order of the papers' tables."""
