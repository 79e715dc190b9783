"""Blocks of the text tower on texts that begin alike: what they share is computed once.

In CLIP's causal tower what becomes of a token depends on the tokens before it alone. Of prompts of one template all
tokens up to the class name are the same, and so is what every block makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.adapters.base import Block
from hclip_mmseg.adapters.precision import autocast_dtype
from hclip_mmseg.clip.attention import Projections, attend, finish_block


@dataclass(frozen=True)
class TextRows:
    """Tokens of texts between two blocks, those that all texts begin with once.

    Attributes:
        rows: [shared + texts * rest, width]: the tokens that are shared, then the rest of each text.
        shared: how many tokens the texts begin with are the same.
        texts: how many texts there are.
        causal: whether a token sees only itself and those before it; if not, nothing is shared.
        bias: where tokens are shared, of the attention of the rest [rest, shared + rest]: 0, or minus infinity where a
            token is not seen.
    """

    rows: Tensor
    shared: int
    texts: int
    causal: bool = True
    bias: Tensor | None = None

    @classmethod
    def of(cls, tokens: Tensor, shared: int, causal: bool = True) -> TextRows:
        """Embedded tokens [texts, length, width] whose first ``shared`` are the same in all texts.

        Raises:
            ValueError: if tokens are to be shared in a tower that is not causal.
        """
        if shared and not causal:
            raise ValueError("tokens can be shared in a causal text tower only")
        rows = torch.cat([tokens[0, :shared], tokens[:, shared:].flatten(0, 1)])
        bias = None
        if shared:
            length, dtype = tokens.shape[1], autocast_dtype(tokens.device) or tokens.dtype
            hidden = torch.full((length - shared, length), -torch.inf, dtype=dtype, device=tokens.device)
            bias = hidden.triu(shared + 1)
        return cls(rows, shared, tokens.shape[0], causal, bias)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows as in ``rows`` -> of what is shared [1, shared, width], and of the rest [texts, rest, width]."""
        first, rest = rows.split([self.shared, rows.shape[0] - self.shared])
        return first[None], rest.unflatten(0, (self.texts, -1))

    def whole(self) -> Tensor:
        """All tokens of all texts, [texts, shared + rest, width]."""
        first, rest = self.split(self.rows)
        return _behind(first, rest)

    def read(self, rows: Tensor, places: Tensor) -> Tensor:
        """Of rows as in ``rows`` those at a place of each text, [texts] places from ``shared`` on -> [texts, width]."""
        _, rest = self.split(rows)
        return rest[torch.arange(self.texts, device=rows.device), places - self.shared]


def run_text_block(block: Block, texts: TextRows, projections: Projections) -> TextRows:
    """One block of the text tower.

    Args:
        block: an ``open_clip`` ResidualAttentionBlock.
        texts: what goes into it.
        projections: what computes q, k, v and out.
    """
    heads = block.attn.num_heads
    q, k, v = projections.qkv(projections.normed("ln_1", block.ln_1(texts.rows)))
    first_q, rest_q = texts.split(q)
    (first_k, rest_k), (first_v, rest_v) = _with_prompts(block, texts, k, v, projections)
    keys, values = _behind(first_k, rest_k), _behind(first_v, rest_v)
    bias = texts.bias
    if bias is not None:
        prompts = keys.shape[1] - bias.shape[1]  # which all see
        bias = (F.pad(bias, (prompts, 0)) if prompts else bias)[None]
    mixed = attend(rest_q, keys, values, heads, causal=texts.causal and bias is None, bias=bias).flatten(0, 1)
    if texts.shared:
        shared = attend(first_q, first_k, first_v, heads, causal=True)
        mixed = torch.cat([shared[0], mixed])
    return replace(texts, rows=finish_block(block, texts.rows, mixed, projections))


def read_text_block(block: Block, texts: TextRows, ends: Tensor, projections: Projections) -> Tensor:
    """The last block, computed where each text is read alone, since nothing else of it is used.

    Args:
        block, texts, projections: see :func:`run_text_block`.
        ends: [texts] place that each text is read at, from ``texts.shared`` on.

    Returns:
        [texts, width].
    """
    normed = projections.normed("ln_1", block.ln_1(texts.rows))
    of_texts = _with_prompts(block, texts, *projections.key_value(normed), projections)
    keys, values = (_behind(*parts) for parts in of_texts)
    seen = None
    if texts.causal:
        prompts = keys.shape[1] - texts.shared - (len(texts.rows) - texts.shared) // texts.texts
        seen = (torch.arange(keys.shape[1], device=ends.device) <= (ends + prompts)[:, None])[:, None]
    query = projections.query(texts.read(normed, ends))[:, None]
    mixed = attend(query, keys, values, block.attn.num_heads, seen=seen)
    return finish_block(block, texts.read(texts.rows, ends), mixed[:, 0], projections)


def _with_prompts(
    block: Block, texts: TextRows, k: Tensor, v: Tensor, projections: Projections
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Keys and values of the rows, each as :meth:`TextRows.split` gives them; what is shared begins with prompts."""
    keys, values = texts.split(k), texts.split(v)
    prompts = projections.prompts()
    if prompts is None:
        return keys, values
    of_prompts = projections.key_value(projections.normed("ln_1", block.ln_1(prompts)))
    return (_behind(of_prompts[0][None], keys[0]), keys[1]), (_behind(of_prompts[1][None], values[0]), values[1])


def _behind(first: Tensor, rest: Tensor) -> Tensor:
    """[1, n, width] before each of [texts, m, width]."""
    return torch.cat([first.expand(rest.shape[0], -1, -1), rest], dim=1) if first.shape[1] else rest
