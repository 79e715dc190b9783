"""A vocabulary's embeddings as a file, so that many names need not be encoded again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.writing import whole
from hclip_mmseg.models import OpenVocabModel
from hclip_mmseg.models.necks.text_cache import digest_of
from hclip_mmseg.vocabularies import Vocabulary, check_names

SUFFIX = ".safetensors"
KIND = "hclip_mmseg vocabulary"
"""What such a file says of itself."""


def is_saved(source: object) -> bool:
    """Whether a source of class names is such a file, by its name."""
    return isinstance(source, (str, Path)) and str(source).strip().lower().endswith(SUFFIX)


@dataclass(frozen=True, eq=False)
class SavedVocabulary:
    """A vocabulary, and the embeddings of the names that a model compares for it.

    Attributes:
        vocabulary: the class names.
        names: that were encoded.
        complete: whether a name goes into the prompt with its commas.
        templates: the prompt templates.
        averaged: whether the templates of a name are one embedding.
        weights: digest of the weights that the embeddings were computed with.
        embeddings: unit embeddings [T, P, C] of T names.
        source: the file; "" before it is one.
    """

    vocabulary: Vocabulary
    names: tuple[str, ...]
    complete: bool
    templates: tuple[str, ...]
    averaged: bool
    weights: str
    embeddings: Tensor
    source: str = ""

    @classmethod
    def of(cls, model: OpenVocabModel, vocabulary: Vocabulary) -> SavedVocabulary:
        """What a model, asked for a vocabulary, has encoded."""
        encoder, parameters = model.text_encoder, list(model.backbone.text_parameters())
        if encoder.class_prompts:
            raise InputError("a saved vocabulary has templates alone: set text_encoder.class_prompts=None to save one")
        with torch.no_grad():
            embeddings = encoder(model.backbone.encode_text, parameters).cpu().contiguous()
        return cls(
            vocabulary, encoder.vocabulary, encoder.complete, encoder.templates, encoder.average,
            digest_of(parameters), embeddings,
        )  # fmt: skip

    def write(self, path: str | Path) -> None:
        """Write the file, whole."""
        about = dict(
            kind=KIND, vocabulary=asdict(self.vocabulary), names=self.names, complete=self.complete,
            templates=self.templates, averaged=self.averaged, weights=self.weights,
        )  # fmt: skip
        with whole(Path(path)) as part:
            save_file({"embeddings": self.embeddings}, part, {"about": json.dumps(about, ensure_ascii=False)})

    def give_to(self, model: OpenVocabModel) -> None:
        """Let a model take its names' embeddings from here.

        Raises:
            ValueError: if they were computed by other weights, or are of another form.
        """
        parameters = list(model.backbone.text_parameters())
        if self.averaged != model.text_encoder.average:
            raise InputError(f"{self.source} holds embeddings of another form: text_encoder.average differs")
        if model.text_encoder.class_prompts:
            raise InputError(f"{self.source} has no text_encoder.class_prompts: set it to None, or give names")
        if self.weights != digest_of(parameters):
            raise InputError(
                f"the embeddings in {self.source} were computed by other weights than this model's; save them anew by "
                "--save-vocab with this config and checkpoint"
            )
        embeddings = self.embeddings.to(parameters[0].device)
        model.text_encoder.take_over(self.names, self.complete, self.templates, embeddings, parameters)


def read_saved_vocabulary(path: str | Path) -> SavedVocabulary:
    """Read a file that :meth:`SavedVocabulary.write` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is none of these, or truncated.
    """
    path = Path(str(path).strip())
    if not path.is_file():
        raise FileNotFoundError(f"no saved vocabulary at {path.absolute()}")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            embeddings = file.get_tensor("embeddings")
        return _checked(about, embeddings, str(path))
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no saved vocabulary, or a truncated one: {error}") from error


def _checked(about: Any, embeddings: Tensor, source: str) -> SavedVocabulary:
    if about["kind"] != KIND:
        raise ValueError("it says that it is something else")
    given = about["vocabulary"]
    vocabulary = Vocabulary(**{field.name: _as_tuples(given[field.name]) for field in fields(Vocabulary)})
    check_names(vocabulary.titles, repeats=True)
    names = check_names(about["names"], repeats=True)
    rows = 1 if about["averaged"] else len(about["templates"])
    if embeddings.ndim != 3 or embeddings.shape[:2] != (len(names), rows) or not embeddings.is_floating_point():
        raise ValueError(f"{len(names)} names and embeddings of shape {list(embeddings.shape)} do not belong together")
    return SavedVocabulary(
        vocabulary, names, bool(about["complete"]), tuple(map(str, about["templates"])), bool(about["averaged"]),
        str(about["weights"]), embeddings, source,
    )  # fmt: skip


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(part) for part in value) if isinstance(value, list) else value
