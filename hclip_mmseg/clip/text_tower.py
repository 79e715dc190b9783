"""CLIP's text tower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

import torch
from open_clip.model import CLIP
from open_clip.transformer import TextTransformer, Transformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.adapters.base import Block, Tower
from hclip_mmseg.clip.adapted_tower import AdaptedTower
from hclip_mmseg.clip.text_blocks import TextRows, read_text_block, run_text_block

T = TypeVar("T")


class TextTower(nn.Module):
    """The text transformer of open_clip, for texts that are cut behind the longest of their batch.

    The tower is causal and read at the end-of-text token, so no later position can reach the result: texts cut
    there (:func:`~hclip_mmseg.clip.cut_behind_longest`) give the same numbers for less work (docs/hclip.md). For the
    same reason tokens that all texts begin with are computed once, and the last block at the end token alone. Takes
    over the modules of ``clip``; parameter names stay open_clip's.

    Args:
        clip: ``open_clip.model.CLIP``, or the ``text`` module of a ``CustomTextCLIP``.
    """

    name: ClassVar[Tower] = "text"

    def __init__(self, clip: CLIP | TextTransformer) -> None:
        super().__init__()
        self.token_embedding: nn.Embedding = clip.token_embedding
        self.positional_embedding: nn.Parameter = clip.positional_embedding
        self.transformer: Transformer = clip.transformer
        self.ln_final: nn.Module = clip.ln_final
        self.text_projection: nn.Parameter | nn.Linear = clip.text_projection

    @property
    def blocks(self) -> Sequence[Block]:
        """The transformer's blocks."""
        blocks: Sequence[Block] = self.transformer.resblocks
        return blocks

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def width(self) -> int:
        """Width of the tokens between the blocks."""
        return self.token_embedding.embedding_dim

    @property
    def context_length(self) -> int:
        """Number of positions of a text, its start and end tokens included."""
        return self.positional_embedding.shape[0]

    def forward(
        self,
        tokens: Tensor,
        checkpoint_blocks: bool = False,
        adapter: Adapter | None = None,
        shared: int = 0,
    ) -> Tensor:
        """Texts -> embeddings.

        Args:
            tokens: [N, length] token numbers, of at most ``context_length``; the end-of-text token is the largest of
                a row.
            checkpoint_blocks: compute the blocks again in the backward pass instead of keeping what
                is inside them; less memory for about a third more time.
            adapter: what changes the tower, where it is not folded into it; None for the tower as it is.
            shared: how many tokens all texts begin with alike, their end tokens not among them; computed once.

        Returns:
            [N, embed_dim], not normalised.
        """
        ends = tokens.argmax(dim=-1)
        embedded = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        read: Tensor = self.ln_final(self._last_block(embedded, ends, shared, checkpoint_blocks, adapter))
        if adapter is not None:
            read = adapter.normed("text", None, "ln_last", read)
        if isinstance(self.text_projection, nn.Linear):
            projected: Tensor = self.text_projection(read)
            return projected
        return read @ self.text_projection

    def _last_block(
        self, embedded: Tensor, ends: Tensor, shared: int, checkpoint_blocks: bool, adapter: Adapter | None
    ) -> Tensor:
        """Embedded tokens [N, length, width] -> what the blocks make of each text's end token [N, width]."""
        texts = TextRows.of(embedded, shared)
        adapted = AdaptedTower(self, adapter)
        states: list[Tensor] = []
        again = partial(checkpoint, use_reentrant=False) if checkpoint_blocks and torch.is_grad_enabled() else _run
        for index, block in enumerate(self.blocks):
            projections = adapted.projections(index)
            if index == self.layers - 1 and not (adapter is not None and adapter.has_side):
                read: Tensor = again(read_text_block, block, texts, ends, projections)
                return read
            texts = again(run_text_block, block, texts, projections)
            if adapter is not None and adapter.has_side:
                states.append(texts.whole())
        assert adapter is not None
        return adapter.side("text", states)[torch.arange(len(ends), device=ends.device), ends]


def _run(function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)
