"""What turns a text into the numbers that a text tower reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor

from hclip_mmseg.clip.loading import clip_config
from hclip_mmseg.clip.text_tower import TextTower, read_at
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.home import HOME, hub_cache, is_offline

POSITIONS = 77
"""Of CLIP's text tower."""


class Tokenizer(ABC):
    """Texts -> rows of token numbers for one text tower.

    Args:
        context_length: positions of the text tower, start and end tokens included.
        pooling, end: where the tower reads a text, see :class:`~.text_tower.TextTower`.
        cuts: whether a text may be cut behind that place.
    """

    def __init__(
        self, context_length: int = POSITIONS, pooling: str = "argmax", end: int | None = None, cuts: bool = True
    ) -> None:
        self.context_length, self.pooling, self.end, self.cuts = context_length, pooling, end, cuts

    @abstractmethod
    def codes(self, texts: Sequence[str]) -> list[list[int]]:
        """Token numbers of each text, of any length, start and end tokens included."""

    @property
    @abstractmethod
    def padding(self) -> int:
        """What the places behind a text hold."""

    def ends(self, tokens: Tensor) -> Tensor:
        """The position that each text is read at: [N, length] -> [N]."""
        return read_at(tokens, self.pooling, self.end)

    def rows(self, codes: Sequence[Sequence[int]]) -> Tensor:
        """Codes of texts as one tensor, int64 [N, context_length]."""
        tokens = torch.full((len(codes), self.context_length), self.padding, dtype=torch.long)
        for row, numbers in zip(tokens, codes, strict=True):
            row[: len(numbers)] = torch.tensor(numbers)
        return tokens


class ClipTokenizer(Tokenizer):
    """CLIP's own pairs of bytes, part of open_clip."""

    padding = 0

    def codes(self, texts: Sequence[str]) -> list[list[int]]:
        """See :class:`Tokenizer`."""
        tokenizer = _pairs_of_bytes()
        return [[tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id] for text in texts]


class HubTokenizer(Tokenizer):
    """A tokenizer of the Hugging Face Hub, as SigLIP's, CLIPA's and MetaCLIP 2's text towers have; read when needed.

    Args:
        name: of its repository, or a folder.
        options: open_clip's ``tokenizer_kwargs``.
        where: see :class:`Tokenizer`.
    """

    def __init__(self, name: str, options: Mapping[str, Any] | None = None, **where: Any) -> None:
        super().__init__(**where)
        self.name, self.options = name, dict(options or {})
        self._read: HFTokenizer | None = None

    def fetch(self, offline: bool = False) -> None:
        """Read the tokenizer, from this machine's files where they are here, and else from the Hub.

        Args:
            offline: whether the network must not be used.

        Raises:
            ValueError: if it cannot be had, or transformers is not installed.
        """
        where: dict[str, Any] = dict(context_length=self.context_length, cache_dir=hub_cache(), **self.options)
        try:
            try:
                self._read = HFTokenizer(self.name, local_files_only=True, **where)
            except OSError:
                if offline or is_offline():
                    raise
                self._read = HFTokenizer(self.name, **where)
        except ImportError as error:
            raise InputError(
                f"the tokenizer {self.name} takes transformers: pip install 'hclip-mmseg[towers]'"
            ) from error
        except Exception as error:  # transformers and the Hub's library have many
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"the tokenizer {self.name} is not here and cannot be had from the Hugging Face Hub ({reason}): "
                f"`hf download {self.name}` on a machine with the internet, and copy its cache (HF_HOME, or "
                f"{HOME}/hub where that is set) to this one"
            ) from error

    @property
    def _tokenizer(self) -> HFTokenizer:
        if self._read is None:
            self.fetch()
        return self._read

    @property
    def padding(self) -> int:
        """See :class:`Tokenizer`."""
        number: int | None = self._tokenizer.tokenizer.pad_token_id
        return 0 if number is None else number

    def codes(self, texts: Sequence[str]) -> list[list[int]]:
        """See :class:`Tokenizer`."""
        read = self._tokenizer
        found: list[list[int]] = read.tokenizer([read.clean_fn(text) for text in texts]).input_ids
        if not read.strip_sep_token:
            return found
        separator = read.tokenizer.sep_token_id  # open_clip puts zeros in its place
        return [[0 if number == separator else number for number in numbers] for numbers in found]


def tokenizer_of(model: str | Mapping[str, Any], text_tower: TextTower) -> Tokenizer:
    """The tokenizer of a CLIP.

    Args:
        model: see :func:`~hclip_mmseg.clip.loading.clip_config`.
        text_tower: its text tower.
    """
    where: dict[str, Any] = dict(
        context_length=text_tower.context_length,
        pooling=text_tower.pooling,
        end=text_tower.end,
        cuts=text_tower.cuts,
    )
    return hub_tokenizer(model, **where) or ClipTokenizer(**where)


def hub_tokenizer(model: str | Mapping[str, Any], **where: Any) -> HubTokenizer | None:
    """The tokenizer of a CLIP whose tokenizer lies on the Hugging Face Hub; None for CLIP's own.

    Args:
        model: see :func:`~hclip_mmseg.clip.loading.clip_config`.
        where: see :class:`Tokenizer`.
    """
    text = clip_config(model)["text_cfg"]
    if "hf_tokenizer_name" not in text:
        return None
    return HubTokenizer(text["hf_tokenizer_name"], text.get("tokenizer_kwargs"), **where)


@lru_cache(maxsize=1)
def _pairs_of_bytes() -> SimpleTokenizer:
    return SimpleTokenizer()
