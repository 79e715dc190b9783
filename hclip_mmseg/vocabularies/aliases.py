"""The spellings of a benchmark's name: papers', configs' and lists' own, in upper or lower case."""

from __future__ import annotations

VOCABULARY_OF = {
    "A-847": "ade20k_847",
    "A-150": "ade20k_150",
    "PC-459": "pascal_context_459",
    "PC-60": "pascal_context_60",
    "PC-59": "pascal_context_59",
    "PAS-20": "pascal_voc_20",
    "PAS-20b": "pascal_voc_20b",
    "VOC-21": "pascal_voc_21",
    "VOC21": "pascal_voc_21",
    "COCO-Object": "coco_object_81",
    "COCO-Stuff": "coco_stuff_171",
    "COCO-27": "coco_27",
    "COCO-panoptic": "coco_panoptic_133",
    "Cityscapes": "cityscapes_19",
    "Cityscapes-27": "cityscapes_27",
    "Mapillary": "mapillary_65",
    "Mapillary-panoptic": "mapillary_panoptic_65",
    "ADE20K-panoptic": "ade20k_150",
}
"""Name of a benchmark in the papers' tables -> the list of names that models are asked for."""


def plain_spelling(name: str) -> str:
    """A name in lower case, words joined by underscores: "A-847" and "a 847" -> "a_847"."""
    return "_".join(name.lower().replace("-", " ").replace("_", " ").split())


_CANONICAL = {plain_spelling(name): vocabulary for name, vocabulary in VOCABULARY_OF.items()}


def canonical_name(name: str) -> str:
    """The name of a list of class names in the spelling that its file has.

    "A-847", "ade20k-847" and "ADE20K_847" -> "ade20k_847"; "A-847@FC-CLIP" -> "ade20k_847@fc-clip". Whether there is
    such a list is not asked here.
    """
    benchmark, at, style = name.partition("@")
    plain = plain_spelling(benchmark)
    return _CANONICAL.get(plain, plain) + at + plain_spelling(style).replace("_", "-")
