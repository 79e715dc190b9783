"""Images and label maps in folders, of whoever has some: names, held-out classes, subsets, rare classes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from hclip_mmseg.datasets.label_maps import decode_label_map
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.image_names import IMAGE_SUFFIXES, images_by_name
from hclip_mmseg.files.text_files import read_lines
from hclip_mmseg.visualization.colours import name_colours
from hclip_mmseg.vocabularies import Vocabulary, read_vocabulary
from hclip_mmseg.vocabularies.labels import label_of_no_class


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """A data set of your own: a folder of images, a folder of label maps of the same names, and class names.

    A label map holds, at each pixel, the place of its class in ``classes``, from 0; ``ignore_index`` stands for
    no class. Held-out classes are for evaluation: training neither asks for them nor learns from their pixels.

    Args:
        classes: what :func:`~hclip_mmseg.vocabularies.read_vocabulary` reads: a list, a file, or a text with commas
            between the classes. In a list, synonyms of a class follow its name behind commas ("crack, fissure").
        held_out: classes that are not trained, by title or first name. With ``test_mode=True`` they are evaluated
            among the others, and told apart (``mIoU_unseen``); without, their pixels are ignored.
        subset: use only so many of the images, or, below 1, this share of them, at least one; drawn by
            ``subset_seed``, a smaller subset within every larger one of the same seed.
        subset_seed: of the draw.
        repeat_below: show images of rare classes more often in training: an image whose rarest class is in a share
            f < ``repeat_below`` of all images is repeated ceil(sqrt(repeat_below / f)) times (Gupta et al., LVIS,
            2019, section 5, there with random rounding). It reads every label map once, at the start.
        ann_file: a file that lists the images, a path below the images' folder each, with or without suffix; "" for
            all that are there.
        img_suffix, seg_map_suffix: endings of the files, such as "_mask.png"; None: any of an image.
        ignore_index: label of pixels without a class; None: 255, or 65535 for more than 255 classes.
        kwargs: of MMSegmentation's ``BaseSegDataset``: ``data_root``, ``data_prefix=dict(img_path=..., seg_map_path=
            ...)``, ``pipeline``, ``reduce_zero_label`` for labels that start at 1 (0: no class), ``test_mode`` ...

    Raises:
        FileNotFoundError: if a folder, listed images or label maps are missing.
        ValueError: if two files have one name, names are no vocabulary, held-out classes are none of ``classes``, or
            a number is out of its range.
    """

    def __init__(
        self,
        *,
        classes: str | Path | Sequence[str] | Vocabulary,
        held_out: Sequence[str] = (),
        subset: int | float | None = None,
        subset_seed: int = 0,
        repeat_below: float | None = None,
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        ignore_index: int | None = None,
        metainfo: dict[str, Any] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
        **kwargs: Any,
    ) -> None:
        self.titles = read_vocabulary(classes).titles
        self.held_out = find_titles(held_out, self.titles)
        if subset is not None and subset <= 0:
            raise ValueError(f"subset is a number of images, or a share of them below 1, not {subset}")
        if repeat_below is not None and not 0 < repeat_below <= 1:
            raise ValueError(f"repeat_below is a share of the images, above 0 and at most 1, not {repeat_below}")
        self.subset, self.subset_seed, self.repeat_below = subset, subset_seed, repeat_below
        asked = self.titles if test_mode else tuple(title for title in self.titles if title not in self.held_out)
        if not asked:
            raise InputError(f"all {len(self.titles)} classes are held out, so there is nothing to train")
        super().__init__(
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            ignore_index=label_of_no_class(len(self.titles)) if ignore_index is None else ignore_index,
            metainfo={"held_out": self.held_out if test_mode else (), **(metainfo or {}), "classes": asked},
            test_mode=test_mode,
            lazy_init=True,
            **kwargs,
        )
        if asked != self.titles:
            self.label_map = {
                label: asked.index(title) if title in asked else self.ignore_index
                for label, title in enumerate(self.titles)
            }
            self._metainfo["label_map"] = self.label_map
        if not lazy_init:
            self.full_init()

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry an image, in order of names; rare ones several times."""
        images = images_by_name(self.data_prefix["img_path"], self.img_suffix)
        names = self._subset(self._listed(images))
        entries = [
            dict(
                img_path=str(images[name]),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                ignore_index=self.ignore_index,
                seg_fields=[],
            )
            for name in names
        ]
        folder = self.data_prefix.get("seg_map_path")
        if folder is None:
            return entries
        maps = images_by_name(folder, self.seg_map_suffix, "label maps")
        lacking = [name for name in names if name not in maps]
        if lacking:
            raise FileNotFoundError(
                f"{len(lacking)} of {len(names)} images in {self.data_prefix['img_path']} have no label map of their "
                f"name in {folder}, such as {images[lacking[0]].name}"
            )
        for name, entry in zip(names, entries, strict=True):
            entry["seg_map_path"] = str(maps[name])
        if self.repeat_below is None or self.test_mode:
            return entries
        repeats = self._repeats([set(self._labels_in(maps[name])) for name in names])
        return [entry for entry, times in zip(entries, repeats, strict=True) for _ in range(times)]

    def _listed(self, images: dict[str, Path]) -> list[str]:
        """Names of the images that ``ann_file`` lists, else of all."""
        if not self.ann_file:
            return sorted(images)
        if not Path(self.ann_file).is_file():
            raise FileNotFoundError(f"no list of images at {Path(self.ann_file).absolute()}")
        names = [self._name_of(line, images) for line in read_lines(self.ann_file) if line]
        lacking = [name for name in names if name not in images]
        if lacking or not names:
            what = f"{len(lacking)} images that are not" if lacking else "no images"
            shown = f", such as {lacking[0]}" if lacking else ""
            raise FileNotFoundError(f"{self.ann_file} lists {what} in {self.data_prefix['img_path']}{shown}")
        return names

    def _name_of(self, line: str, images: dict[str, Path]) -> str:
        path = Path(line)
        if line in images:
            return line
        return path.with_suffix("").as_posix() if path.suffix.lower() in IMAGE_SUFFIXES else line

    def _subset(self, names: list[str]) -> list[str]:
        if self.subset is None:
            return names
        count = max(round(self.subset * len(names)), 1) if self.subset < 1 else int(self.subset)
        if count > len(names):
            raise InputError(f"subset={count} asks for more images than the {len(names)} there are")
        drawn = np.random.default_rng(self.subset_seed).permutation(len(names))[:count]
        return [names[index] for index in sorted(drawn)]

    def _labels_in(self, path: Path) -> list[int]:
        """The trained classes that a label map shows."""
        numbers = np.unique(decode_label_map(path.read_bytes(), str(path))).astype(int)
        labels = numbers - 1 if self.reduce_zero_label else numbers
        place = self.label_map or {label: label for label in range(len(self.titles))}
        return [place[label] for label in labels.tolist() if place.get(label, self.ignore_index) != self.ignore_index]

    def _repeats(self, shown: Sequence[set[int]]) -> list[int]:
        """How often each image is used, from the classes that it shows."""
        assert self.repeat_below is not None
        counts = Counter(label for labels in shown for label in labels)
        factor = {
            label: max(math.ceil(math.sqrt(self.repeat_below * len(shown) / count)), 1)
            for label, count in counts.items()
        }
        return [max((factor[label] for label in labels), default=1) for labels in shown]

    def _update_palette(self) -> list[list[int]]:
        return name_colours(self._metainfo["classes"]).tolist()


def find_titles(names: Sequence[str], titles: Sequence[str]) -> tuple[str, ...]:
    """The titles that are meant by titles or first names, in the order of all titles.

    Raises:
        ValueError: if a name is none of them.
    """
    if isinstance(names, str):
        names = [name for name in names.split(",") if name.strip()]
    wanted = {" ".join(name.split()) for name in names}
    first = {title.split(",")[0].strip(): title for title in titles}
    stranger = next((name for name in sorted(wanted) if name not in titles and name not in first), None)
    if stranger is not None:
        raise InputError(f"'{stranger}' is held out, but is none of the classes ({', '.join(first)})")
    return tuple(title for title in titles if title in wanted or title.split(",")[0].strip() in wanted)
