"""How a model's words and the images of what they mean lie to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.datasets import BaseSegDataset
from torch import Tensor
from tqdm import tqdm

from hclip_mmseg.training_free.patch_labels import labels_of_patches


@dataclass(frozen=True, eq=False)
class ClassEmbeddings:
    """Embeddings of the classes that a data set shows.

    Attributes:
        names: of the classes.
        text: [classes, C], unit-norm embedding of each name, the mean of them where a class has several.
        image: [classes, C], unit-norm mean of the unit-norm tokens of all patches that show the class.
    """

    names: tuple[str, ...]
    text: Tensor
    image: Tensor

    def matrices(self) -> dict[str, Tensor]:
        """Cosines of every pair of classes, [classes, classes]; of 'text and image' the rows are texts."""
        pairs = {"text": (self.text, self.text), "image": (self.image, self.image)}
        pairs["text and image"] = (self.text, self.image)
        return {name: (rows @ columns.T).cpu() for name, (rows, columns) in pairs.items()}


@torch.no_grad()
def class_embeddings(model: Any, dataset: BaseSegDataset, images: int) -> ClassEmbeddings:
    """Embeddings of the classes in a part of a data set.

    Args:
        model: has ``set_vocabulary`` and ``extract_feat``, which gives (dense tokens [B, C, h, w], ..., text
            [T, P, C]), as an ``OpenVocabSegmentor`` does.
        dataset: with label maps; its vocabulary is what the model is asked for.
        images: how many are looked at, evenly spread over the data set.
    """
    classes = dataset.metainfo["classes"]
    model.set_vocabulary(dataset.metainfo.get("vocabulary", classes))
    device = next(model.parameters()).device
    sums = torch.zeros(len(classes), 0)
    counts = torch.zeros(len(classes), device=device)
    chosen = np.linspace(0, len(dataset) - 1, min(images, len(dataset))).round().astype(int)
    for index in tqdm(chosen, desc="similarity", unit="image", disable=None):
        sample: dict[str, Any] = dataset[int(index)]
        batch = dict(inputs=[sample["inputs"]], data_samples=[sample["data_samples"]])
        dense, *_, text = model.extract_feat(model.data_preprocessor(batch, False)["inputs"])
        tokens = F.normalize(dense[0].flatten(1).T, dim=-1)
        labels = labels_of_patches(sample["data_samples"].gt_sem_seg.data[0], dense.shape[-2:]).to(device)
        known = labels < len(classes)
        if not sums.numel():
            sums = tokens.new_zeros(len(classes), tokens.shape[1])
        sums.index_add_(0, labels[known], tokens[known])
        counts += torch.bincount(labels[known], minlength=len(classes))
    text = F.normalize(text.mean(dim=1), dim=-1)
    folds = torch.tensor(dataset.metainfo.get("folds", range(len(classes))), device=device)
    of_class = F.normalize(torch.zeros_like(sums).index_add_(0, folds, text.to(sums.dtype)), dim=-1)
    shown = counts.nonzero().flatten()
    names = tuple(classes[index] for index in shown.tolist())
    return ClassEmbeddings(names, of_class[shown], F.normalize(sums[shown], dim=-1))
