"""From class names and templates to CLIP's tokens."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hclip_mmseg.clip.templates import prompt
from hclip_mmseg.clip.tokenizers import ClipTokenizer, Tokenizer


def prompt_name(name: str) -> str:
    """What of a class name goes into the prompt: its first synonym ('building, edifice' -> 'building')."""
    return name.split(",")[0].strip()


def tokenize(
    names: Sequence[str], templates: Sequence[str], tokenizer: Tokenizer | None = None, whole: bool = False
) -> Tensor:
    """Tokens of every name in every template.

    Args:
        names: class names; of one with synonyms, separated by commas, the first is used.
        templates: texts with one ``{}`` each, see :func:`~hclip_mmseg.clip.templates.resolve_templates`.
        tokenizer: of the text tower; None: CLIP's own.
        whole: put all of a name into the prompt, its synonyms and their commas too.

    Returns:
        int64 [names, templates, context_length], padded after the end token.

    Raises:
        ValueError: if a prompt does not fit: which name, and how many tokens there are for how many places; or the
            tokenizer cannot be had.
    """
    tokenizer = tokenizer or ClipTokenizer()
    asked = [(i, template) for i in range(len(names)) for template in templates]
    shown = [name if whole else prompt_name(name) for name in names]
    codes = tokenizer.codes([prompt(template, shown[i]) for i, template in asked])
    for (i, template), numbers in zip(asked, codes, strict=True):
        if len(numbers) > tokenizer.context_length:
            name = names[i] if len(names[i]) <= 60 else names[i][:57] + "..."
            raise ValueError(
                f"class name {i} ({name!r}) takes {len(numbers)} tokens in the prompt {template!r}, "
                f"CLIP's text tower has {tokenizer.context_length} places; shorten the name"
            )
    return tokenizer.rows(codes).view(len(names), len(templates), tokenizer.context_length)


def cut_behind_longest(tokens: Tensor, ends: Tensor | None = None) -> Tensor:
    """Texts without the places behind the end token of the longest: [N, length] -> [N, shorter].

    Args:
        tokens: of the texts.
        ends: [N] where each text ends; None: at the largest token of its row, as CLIP's do.
    """
    ends = tokens.argmax(dim=-1) if ends is None else ends
    return tokens[:, : int(ends.max()) + 1]
