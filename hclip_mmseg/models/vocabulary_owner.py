"""What every model that is asked for words has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class VocabularyOwner:
    """A model whose ``text_encoder``, a :class:`~hclip_mmseg.models.necks.TextEncoderNeck`, owns its names."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names that the model looks for, in label order."""
        return self.text_encoder.vocabulary

    @property
    def dataset_meta(self) -> Mapping[str, Any]:
        """What MMSegmentation's and MMDetection's own APIs tell the model of a checkpoint's data set."""
        found: Mapping[str, Any] = self.__dict__.get("_dataset_meta", {})
        return found

    @dataset_meta.setter
    def dataset_meta(self, meta: Mapping[str, Any]) -> None:
        """Look for the data set's class names if no others were asked for."""
        self.__dict__["_dataset_meta"] = meta
        names = (meta or {}).get("vocabulary") or (meta or {}).get("classes")
        if names and not self.vocabulary:
            self.set_vocabulary(names)

    def set_vocabulary(self, names: Sequence[str], templates: str | Sequence[str] | None = None) -> None:
        """Replaces what the model looks for.

        Args:
            names: class names in label order; a name may list synonyms after commas.
            templates: prompt templates, None keeps the present ones.

        Raises:
            ValueError: if names are empty, doubled or too long; the vocabulary stays as it was.
        """
        self.text_encoder.set_vocabulary(names, templates)
