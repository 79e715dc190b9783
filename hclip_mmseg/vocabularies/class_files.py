"""Class lists as the training-free methods' code keeps them: ``cls_<data set>.txt``, a class a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hclip_mmseg.vocabularies.names import EACH, read_vocabulary
from hclip_mmseg.vocabularies.vocabulary import Vocabulary


def read_class_file(path: str | Path, background: bool = False) -> Vocabulary:
    """A vocabulary in which every name of a class is asked for by itself.

    Args:
        path: a file of :func:`~hclip_mmseg.vocabularies.read_vocabulary`; a text file has a class a line, in the data
            set's order, its names behind ";" or ",".
        background: whether the first class is of names that mean background.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no list of names.
    """
    vocabulary = read_vocabulary(Path(f"{path}{EACH}"))
    categories = [names[0] for names in vocabulary.members or ()]
    if background:
        categories[0] = "background"
    return replace(vocabulary, categories=tuple(categories))
