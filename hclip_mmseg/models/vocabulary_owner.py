"""What every model that is asked for words has in common."""

from __future__ import annotations

from collections.abc import Sequence


class VocabularyOwner:
    """A model whose ``text_encoder``, a :class:`~hclip_mmseg.models.necks.TextEncoderNeck`, owns its names."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names that the model looks for, in label order."""
        return self.text_encoder.vocabulary

    def set_vocabulary(self, names: Sequence[str], templates: str | Sequence[str] | None = None) -> None:
        """Replaces what the model looks for.

        Args:
            names: class names in label order; a name may list synonyms after commas.
            templates: prompt templates, None keeps the present ones.

        Raises:
            ValueError: if names are empty, doubled or too long; the vocabulary stays as it was.
        """
        self.text_encoder.set_vocabulary(names, templates)
