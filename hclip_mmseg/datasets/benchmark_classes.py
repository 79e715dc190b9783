"""What the benchmarks' data sets share beyond MMSeg's: names from the vocabularies, views of label maps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmseg.datasets import BaseSegDataset

from hclip_mmseg.datasets.classes_in_images import classes_in_image
from hclip_mmseg.datasets.label_maps import LoadLabelMap
from hclip_mmseg.visualization.colours import name_colours
from hclip_mmseg.vocabularies import Names, Vocabulary, load_vocabulary, read_names, read_vocabulary


def class_metainfo(vocabulary: str) -> dict[str, Any]:
    """A data set's metainfo from a vocabulary's name.

    Returns:
        ``classes``, which are evaluated. Where the model is asked for other names than these, also ``vocabulary``,
        what it is asked for, and ``folds``, the index of the class that each of them counts as.
    """
    loaded = load_vocabulary(vocabulary)
    return dict(classes=loaded.classes) | (asked_metainfo(loaded) if loaded.folds is not None else {})


def asked_metainfo(vocabulary: Vocabulary) -> dict[str, Any]:
    """The part of a data set's metainfo that says what a model is asked for.

    Returns:
        ``vocabulary``; ``folds``, the index of the class that each of its entries counts as, unless it is the entry's
        own; ``whole`` where entries go into the prompt with their commas.
    """
    metainfo: dict[str, Any] = dict(vocabulary=vocabulary.asked)
    if vocabulary.folds is not None:
        metainfo["folds"] = vocabulary.folds
    if vocabulary.whole:
        metainfo["whole"] = True
    return metainfo


class BenchmarkClasses(BaseSegDataset):
    """Mixed into MMSeg's data sets, before them.

    Label maps that several benchmarks read in different ways need no copies: ``VIEW`` says what a number in the file
    counts as. A part of the classes can be chosen with ``metainfo=dict(classes=...)``, names or whatever
    ``read_names`` takes; pixels of the others are ignored then. That a label map is there for every image is checked
    before the first is read. Colours follow from the names.

    Args:
        vocabulary: the list that a model is asked for instead of the benchmark's own, such as
            "pascal_context_459@cat-seg"; see :func:`~hclip_mmseg.vocabularies.read_vocabulary`. Classes that are
            evaluated, and their names in results, stay the benchmark's.
        args, kwargs: of MMSeg's data set.

    Raises:
        ValueError: if there is no such list, it has not one entry for each class, or classes were chosen too.
    """

    IGNORE: ClassVar[int] = 255
    """The label of pixels without a class."""
    VIEW: ClassVar[Mapping[int, int] | None] = None
    """Number in the file -> index of a class, or ``IGNORE``; None: they are the same."""
    HOW_TO_GET: ClassVar[str] = ""

    def __init__(self, *args: Any, vocabulary: Names | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("ignore_index", self.IGNORE)
        self._shown: dict[int, list[int]] = {}
        if isinstance((kwargs.get("metainfo") or {}).get("classes"), str):
            kwargs["metainfo"] = {**kwargs["metainfo"], "classes": read_names(kwargs["metainfo"]["classes"])}
        if vocabulary is not None:
            kwargs["metainfo"] = {**(kwargs.get("metainfo") or {}), **self._asked_instead(vocabulary, kwargs)}
        super().__init__(*args, **kwargs)

    def _asked_instead(self, name: Names, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        own, chosen = self.METAINFO["classes"], (kwargs.get("metainfo") or {}).get("classes")
        if chosen is not None and tuple(chosen) != tuple(own):
            raise ValueError(
                f"{type(self).__name__}: vocabulary='{name}' is for all {len(own)} classes, metainfo.classes chooses "
                f"{len(chosen)}; give one of the two"
            )
        vocabulary = read_vocabulary(name)
        if len(vocabulary.classes) != len(own):
            raise ValueError(
                f"{type(self).__name__} has {len(own)} classes, the vocabulary '{name}' {len(vocabulary.classes)}"
            )
        one_each = {"folds": tuple(range(len(own)))} if "folds" in self.METAINFO else {}
        return one_each | asked_metainfo(vocabulary)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """Number in the file -> label, or None where they are the same.

        Raises:
            ValueError: if chosen classes are none of the data set's.
        """
        classes = cls.METAINFO["classes"]
        chosen = classes if new_classes is None else tuple(new_classes)
        lacking = [name for name in chosen if name not in classes]
        if lacking:
            raise ValueError(f"{cls.__name__} has no classes {', '.join(lacking)}; it has {', '.join(classes[:5])} ...")
        if cls.VIEW is None and chosen == classes:
            return None
        view = cls.VIEW if cls.VIEW is not None else {index: index for index in range(len(classes))}
        place = {classes.index(name): index for index, name in enumerate(chosen)}
        return {number: place.get(index, cls.IGNORE) for number, index in view.items()}

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry an image.

        Raises:
            FileNotFoundError: if images or label maps are missing: how many, which, and how to get them.
        """
        entries = super().load_data_list()
        for entry in entries:
            entry["ignore_index"] = self.ignore_index
        if not self.backend_args:
            for key, kind in (("img_path", "images"), ("seg_map_path", "label maps")):
                self._check_there([entry[key] for entry in entries if key in entry], kind)
        return entries

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the classes that an image shows; its label map is read once."""
        if idx not in self._shown:
            loader = LoadLabelMap(self.backend_args)
            self._shown[idx] = classes_in_image(self.get_data_info(idx), loader, len(self.metainfo["classes"]))
        return self._shown[idx]

    def _check_there(self, paths: Sequence[str], kind: str) -> None:
        # listing folders is faster than asking for every file
        folders = {os.path.dirname(path) for path in paths}
        there = {folder: set(os.listdir(folder)) if os.path.isdir(folder) else () for folder in folders}
        missing = [path for path in paths if os.path.basename(path) not in there[os.path.dirname(path)]]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(paths)} {kind} of {type(self).__name__} are missing, such as {missing[0]}. "
                f"{self.HOW_TO_GET}".rstrip()
            )

    def _update_palette(self) -> list[list[int]]:
        return name_colours(self._metainfo["classes"]).tolist()

    @classmethod
    def _load_metainfo(cls, metainfo: dict[str, Any] | None = None) -> dict[str, Any]:
        """Folds follow the classes that were chosen; names of the others are not asked for."""
        loaded = super()._load_metainfo(metainfo)
        given = metainfo or {}
        if "classes" in given and "folds" in loaded and not {"vocabulary", "folds"} & set(given):
            classes, chosen = cls.METAINFO["classes"], list(loaded["classes"])
            kept = [
                (name, chosen.index(classes[fold]))
                for name, fold in zip(loaded["vocabulary"], loaded["folds"], strict=True)
                if classes[fold] in chosen
            ]
            loaded["vocabulary"], loaded["folds"] = (tuple(part) for part in zip(*kept, strict=True))
        return loaded
