"""Sentences of their own for some class names, beside the templates (OV-Stitcher's class-biased templates)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hclip_mmseg.clip import Tokenizer, tokenize
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.paths import locate, looked_in


def read_class_prompts(source: str | Mapping[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    """Name -> its sentences, by names without case and spaces, since published files write 'baseballbat'.

    Args:
        source: that mapping, or the path of a JSON file of it, ``{"airplane": ["a flying machine", ...]}``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else.
    """
    if source is None:
        return {}
    where = "text_encoder.class_prompts"
    if isinstance(source, str):
        path = locate(source)
        if path is None:
            raise FileNotFoundError(f"no file of sentences for classes: looked for at {looked_in(source)}")
        where, source = str(path), read_json(path)
    if not isinstance(source, Mapping) or not all(map(_are_sentences, source.values())):
        raise InputError(f'{where} must hold for each class name a list of sentences, {{"cat": ["a small pet", ...]}}')
    return {_plain(str(name)): tuple(sentences) for name, sentences in source.items() if sentences}


def _are_sentences(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(x, str) for x in value)


def _plain(name: str) -> str:
    return "".join(name.casefold().split())


def class_prompt_tokens(
    prompts: Mapping[str, Sequence[str]], names: Sequence[str], tokenizer: Tokenizer
) -> tuple[Tensor, Tensor]:
    """Tokens [sentences, 1, context_length] of the names that have sentences, and whose each is, int64 [sentences].

    Raises:
        ValueError: if a sentence does not fit.
    """
    found = [(place, text) for place, name in enumerate(names) for text in prompts.get(_plain(name), ())]
    tokens = tokenize([text for _, text in found], ("{}",), tokenizer, whole=True)
    return tokens, torch.tensor([place for place, _ in found], dtype=torch.long)
