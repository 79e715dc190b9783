"""Several data sets, each with its own names, in one training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset, ConcatDataset, force_full_init
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from torch import Tensor

from hclip_mmseg.datasets.replay import Draw
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.visualization.colours import name_colours
from hclip_mmseg.vocabularies import check_names
from hclip_mmseg.vocabularies.labels import label_of_no_class
from hclip_mmseg.vocabularies.vocabulary import read_by_clip


@DATASETS.register_module()
class MixedDataset(ConcatDataset):
    """Data sets of several vocabularies for one training; every sample is scored on its own data set's names.

    The model's vocabulary is the joint one: the names of all, each once. A sample carries ``asked``, the places of its
    own data set's names in it, and its labels are places in it too. ``OpenVocabSegmentor`` scores it on those alone.

    Args:
        datasets: settings of the data sets, such as a ``FolderDataset`` and a benchmark; each with its own pipeline.
        ratio: how many samples of each data set stand beside each other, such as (4, 1): four of five are of the
            first. A pass then shows the first data set once, and as much of the others as the ratio says; the
            next pass shows what follows of them. None: a pass shows every sample of all.
        lazy_init: of MMEngine's ``ConcatDataset``.

    Raises:
        ValueError: if there are no data sets, the ratio has not one positive number each, or one asks for several names
            a class, on which nothing can be trained.
    """

    def __init__(
        self,
        datasets: Sequence[BaseDataset | dict[str, Any]],
        ratio: Sequence[float] | None = None,
        lazy_init: bool = False,
    ) -> None:
        built = [DATASETS.build(dataset) if isinstance(dataset, dict) else dataset for dataset in datasets]
        if not built:
            raise ValueError("MixedDataset needs at least one data set")
        if ratio is not None and (len(ratio) != len(built) or min(ratio) <= 0):
            raise ValueError(f"ratio has one number above 0 for each of the {len(built)} data sets, not {ratio}")
        self.ratio = ratio
        own_names = [_names_of(dataset) for dataset in built]
        place: dict[str, int] = {}
        titles: list[str] = []
        for title in (title for names in own_names for title in names):
            if read_by_clip(title) not in place:
                place[read_by_clip(title)] = len(titles)
                titles.append(title)
        self.asked = [tuple(place[read_by_clip(title)] for title in names) for names in own_names]
        self.ignore_index = label_of_no_class(len(titles))
        super().__init__(built, lazy_init=True, ignore_keys=list({key for each in built for key in each.metainfo}))
        self._metainfo = dict(
            classes=check_names(titles), palette=name_colours(titles).tolist(), mixed=True, label_map=None
        )
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the lists of all data sets; how many samples of each a pass shows follows."""
        if self._fully_initialized:
            return
        super().full_init()
        sizes = [len(dataset) for dataset in self.datasets]
        if self.ratio is not None:
            sizes = [sizes[0], *(max(round(sizes[0] * part / self.ratio[0]), 1) for part in self.ratio[1:])]
        self.cumulative_sizes = np.cumsum(sizes).tolist()
        self._orders = [np.random.default_rng(seed).permutation(len(each)) for seed, each in enumerate(self.datasets)]

    @force_full_init
    def _get_ori_dataset_idx(self, idx: int) -> tuple[int, int]:
        number, index = super()._get_ori_dataset_idx(idx)
        size = len(self.datasets[number])
        share = self.cumulative_sizes[number] - (self.cumulative_sizes[number - 1] if number else 0)
        if share == size:
            return number, index
        passed = idx.number // len(self) if isinstance(idx, Draw) else 0
        chosen = int(self._orders[number][(int(index) + passed * share) % size])
        return number, Draw(chosen, idx.number, idx.seed) if isinstance(idx, Draw) else chosen

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """A sample of one of the data sets, with labels of the joint vocabulary."""
        number, index = self._get_ori_dataset_idx(idx)
        results: dict[str, Any] = self.datasets[number][index]
        sample = results.get("data_samples")
        if not isinstance(sample, SegDataSample) or "gt_sem_seg" not in sample:
            raise InputError(
                "MixedDataset trains segmentors, whose pipelines end in mmseg.PackSegInputs with a label map; mask "
                "classifiers and detectors train on one data set"
            )
        labels = sample.gt_sem_seg.data
        sample.gt_sem_seg.data = self._joint(labels, number)
        sample.set_metainfo({"asked": self.asked[number]})
        return results

    def _joint(self, labels: Tensor, number: int) -> Tensor:
        """Labels of a data set -> labels of the joint vocabulary."""
        asked = torch.tensor(self.asked[number])
        ignored = labels == getattr(self.datasets[number], "ignore_index", 255)
        outside = ~ignored & (labels >= len(asked))
        if outside.any():
            raise InputError(
                f"{type(self.datasets[number]).__name__} has the label {int(labels[outside][0])}, and only "
                f"{len(asked)} names"
            )
        return torch.where(ignored, self.ignore_index, asked[labels.where(~ignored, 0)])


def _names_of(dataset: BaseDataset) -> tuple[str, ...]:
    """What a data set is asked for, in the order of its labels."""
    meta = dataset.metainfo
    folds = meta.get("folds")
    if folds is not None and tuple(folds) != tuple(range(len(meta["classes"]))):
        raise InputError(
            f"{type(dataset).__name__} can be tested on but not trained on: it asks for several names a class"
        )
    return tuple(meta.get("vocabulary", meta["classes"]))
