"""CLIP's text tower."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

import torch
from open_clip.model import CLIP
from open_clip.transformer import ResidualAttentionBlock, TextTransformer, Transformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.adapters.base import Block, Norm, Tower
from hclip_mmseg.clip.adapted_tower import AdaptedTower
from hclip_mmseg.clip.text_blocks import TextRows, read_text_block, run_text_block

T = TypeVar("T")


class TextTower(nn.Module):
    """The text transformer of open_clip.

    CLIP's is causal and read at the end-of-text token, so no later position can reach the result: texts cut
    there (:func:`~hclip_mmseg.clip.cut_behind_longest`) give the same numbers for less work (docs/hclip.md). For the
    same reason tokens that all texts begin with are computed once, and the last block where a text is read alone.
    SigLIP's and CLIPA's sees all positions and is read at the last one, so its texts have to be whole. Takes over the
    modules of ``clip``; parameter names stay open_clip's.

    Args:
        clip: ``open_clip.model.CLIP``, or the ``text`` module of a ``CustomTextCLIP``.

    Attributes:
        causal: whether a position sees only itself and those before it.
        pooling: where a text is read: 'argmax', at the largest token number, CLIP's end of text; 'eos', at the first
            token ``end``; 'last', at the last position.
        end: number of the end-of-text token, for 'eos'.

    Raises:
        ValueError: if it is a text tower of another kind: what differs.
    """

    name: ClassVar[Tower] = "text"
    norm_names: ClassVar[Mapping[Norm, str]] = {"ln_last": "ln_final"}

    def __init__(self, clip: CLIP | TextTransformer) -> None:
        super().__init__()
        differs = why_not_text(clip)
        if differs:
            raise ValueError(f"the text tower has {differs}")
        self.causal = clip.attn_mask is not None
        self.pooling: str = pooling_of(clip) or "argmax"
        self.end = getattr(clip, "text_eos_id", getattr(clip, "eos_id", None))
        self.token_embedding: nn.Embedding = clip.token_embedding
        self.positional_embedding: nn.Parameter = clip.positional_embedding
        self.transformer: Transformer = clip.transformer
        self.ln_final: nn.Module = clip.ln_final
        self.text_projection: nn.Parameter | nn.Linear | None = clip.text_projection

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

    @property
    def cuts(self) -> bool:
        """Whether a text may be cut behind the place that it is read at."""
        return self.causal and self.pooling != "last"

    def own_parameters(self, layer: int, of_block: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters of a block by the names that they have in this tower."""
        return {f"transformer.resblocks.{layer}.{name}": value for name, value in of_block.items()}

    def ends(self, tokens: Tensor) -> Tensor:
        """The position that each text is read at: [N, length] -> [N]."""
        return read_at(tokens, self.pooling, self.end)

    def forward(
        self,
        tokens: Tensor,
        checkpoint_blocks: bool = False,
        adapter: Adapter | None = None,
        shared: int = 0,
    ) -> Tensor:
        """Texts -> embeddings.

        Args:
            tokens: [N, length] token numbers, of ``context_length``, or shorter where the tower ``cuts``.
            checkpoint_blocks: compute the blocks again in the backward pass instead of keeping what
                is inside them; less memory for about a third more time.
            adapter: what changes the tower, where it is not folded into it; None for the tower as it is.
            shared: how many tokens all texts begin with alike, their end tokens not among them; computed once.

        Returns:
            [N, embed_dim], not normalised.
        """
        ends = self.ends(tokens)
        embedded = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        read: Tensor = self.ln_final(self._last_block(embedded, ends, shared, checkpoint_blocks, adapter))
        if adapter is not None:
            read = adapter.normed("text", None, "ln_last", read)
        if self.text_projection is None:  # as in SigLIP's i18n
            return read
        if isinstance(self.text_projection, nn.Linear):
            projected: Tensor = self.text_projection(read)
            return projected
        return read @ self.text_projection

    def _last_block(
        self, embedded: Tensor, ends: Tensor, shared: int, checkpoint_blocks: bool, adapter: Adapter | None
    ) -> Tensor:
        """Embedded tokens [N, length, width] -> what the blocks make of the token that is read, [N, width]."""
        texts = TextRows.of(embedded, shared, self.causal)
        adapted = AdaptedTower(self, adapter)
        states: list[Tensor] = []
        # a compiler decides itself what it computes again, and cannot take the adapters' matrices into such a part
        wanted = checkpoint_blocks and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        again = partial(checkpoint, use_reentrant=False) if wanted else _run
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


def pooling_of(clip: Any) -> str | None:
    """Where open_clip reads a text of this model, or of its text module; None where it says nothing of it."""
    return getattr(clip, "text_pool_type", getattr(clip, "pool_type", None))


def read_at(tokens: Tensor, pooling: str, end: int | None) -> Tensor:
    """The position that each text is read at: [N, length] -> [N]; see :class:`TextTower`."""
    if pooling == "last":
        return tokens.new_full(tokens.shape[:1], tokens.shape[1] - 1)
    if pooling == "argmax":
        return tokens.argmax(dim=-1)
    return torch.eq(tokens, -1 if end is None else end).int().argmax(dim=-1)


def why_not_text(clip: Any) -> str | None:
    """What keeps a text tower from being read; None: nothing."""
    if not isinstance(getattr(clip, "transformer", None), Transformer) or not hasattr(clip, "token_embedding"):
        return f"layers of its own ({type(clip).__name__}), not open_clip's text transformer"
    if any(type(block) is not ResidualAttentionBlock for block in clip.transformer.resblocks):
        return "blocks of another kind than CLIP's"
    if getattr(clip, "use_pad_mask", False):
        return "a mask of padding"
    if pooling_of(clip) not in ("argmax", "eos", "last"):
        return f"pooling by {pooling_of(clip)!r}"
    return None
