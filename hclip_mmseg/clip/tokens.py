"""From class names and templates to CLIP's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from hclip_mmseg.clip.templates import prompt


@lru_cache(maxsize=1)
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


def prompt_name(name: str) -> str:
    """What of a class name goes into the prompt: its first synonym ('building, edifice' -> 'building')."""
    return name.split(",")[0].strip()


def tokenize(names: Sequence[str], templates: Sequence[str], context_length: int = 77, whole: bool = False) -> Tensor:
    """Tokens of every name in every template.

    Args:
        names: class names; of one with synonyms, separated by commas, the first is used.
        templates: texts with one ``{}`` each, see :func:`~hclip_mmseg.clip.templates.resolve_templates`.
        context_length: positions of the text tower, start and end tokens included.
        whole: put all of a name into the prompt, its synonyms and their commas too.

    Returns:
        int64 [names, templates, context_length], zero after the end token.

    Raises:
        ValueError: if a prompt does not fit: which name, and how many tokens there are for how many places.
    """
    tokenizer = _tokenizer()
    tokens = torch.zeros(len(names), len(templates), context_length, dtype=torch.long)
    for i, name in enumerate(names):
        for j, template in enumerate(templates):
            codes = [
                tokenizer.sot_token_id,
                *tokenizer.encode(prompt(template, name if whole else prompt_name(name))),
                tokenizer.eot_token_id,
            ]
            if len(codes) > context_length:
                shown = name if len(name) <= 60 else name[:57] + "..."
                raise ValueError(
                    f"class name {i} ({shown!r}) takes {len(codes)} tokens in the prompt {template!r}, "
                    f"CLIP's text tower has {context_length} places; shorten the name"
                )
            tokens[i, j, : len(codes)] = torch.tensor(codes)
    return tokens


def cut_behind_longest(tokens: Tensor) -> Tensor:
    """Texts without the places behind the end token of the longest: [N, length] -> [N, shorter].

    The end-of-text token is the largest of a row.
    """
    return tokens[:, : int(tokens.argmax(dim=-1).max()) + 1]
