"""Semantic-guided Visual Encoding (SEVE): mask tokens that know which class names are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

ClassNorm = Literal["rms", "layer"]
"""How class tokens are scaled before g_k and g_v; see :class:`SEVE`."""

Form = Literal["added", "printed"]
"""What becomes of a mask token that has read the class tokens; see :class:`SEVE`."""

INNER_WIDTH, HEADS = 224, 4


class ClassKeys(NamedTuple):
    """Keys and values [heads, T, channels of a head] of the class tokens, for one set of projections."""

    keys: Tensor
    values: Tensor


class ClassAttention(nn.Module):
    """Attention of mask tokens to class tokens through g_q, g_k, g_v, in this project's form of FISA's Eqs. 3 and 4.

    A = softmax(g_q(m) g_k(c)^T / sqrt(d)), e = A g_v(c), in several heads. g_v leads from the class tokens' width to
    the image tower's; it is kept small as a product of two, class width -> inner -> tower width, the second of which is
    applied behind the attention (g_o, the usual output projection of several heads). g_o starts at 0, so that
    mask tokens start as plain CLIP's.

    Args:
        width: of the mask tokens, that is of the image tower.
        class_width: of the class tokens, that is of the embeddings shared by CLIP's towers.
        inner_width: between them.
        heads: of the attention; divides the inner width.
    """

    def __init__(self, width: int, class_width: int, inner_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.g_q = nn.Linear(width, inner_width, bias=False)
        self.g_k = nn.Linear(class_width, inner_width, bias=False)
        self.g_v = nn.Linear(class_width, inner_width, bias=False)
        self.g_o = nn.Linear(inner_width, width, bias=False)
        for projection in (self.g_q, self.g_k, self.g_v):
            nn.init.xavier_uniform_(projection.weight)
        nn.init.zeros_(self.g_o.weight)

    def classes(self, class_tokens: Tensor) -> ClassKeys:
        """Class tokens [T, class_width] -> what mask tokens attend to."""
        return ClassKeys(self._split(self.g_k(class_tokens)), self._split(self.g_v(class_tokens)))

    def forward(self, tokens: Tensor, classes: ClassKeys) -> Tensor:
        """What mask tokens [B, Q, width] find among the classes, [B, Q, width].

        The mask tokens of all images attend as one batch, in a fused attention that never holds the
        [B * Q, T] weights, so memory grows with Q + T and not with their product.
        """
        queries = self._split(self.g_q(tokens).flatten(0, 1))
        mixed = F.scaled_dot_product_attention(queries[None], classes.keys[None], classes.values[None])[0]
        found: Tensor = self.g_o(mixed.transpose(0, 1).flatten(1))
        return found.unflatten(0, tokens.shape[:2])

    def _split(self, x: Tensor) -> Tensor:
        """[n, inner] -> [heads, n, inner / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(0, 1)


class PrintedClassAttention(nn.Module):
    """Attention of mask tokens to class tokens as FISA prints it: softmax(q k^T) v.

    Here q = g_q(m), k = g_k(c) and v = g_v(c).

    Eqs. 3 and 4 have no scale, no heads and no output projection; g_v leads straight to the image tower's width. All
    three projections start at random, so mask tokens do not start as plain CLIP's.

    Args:
        width: of the mask tokens, that is of the image tower.
        class_width: of the class tokens, that is of the embeddings shared by CLIP's towers.
        inner_width: of queries and keys, which the paper does not print.
    """

    def __init__(self, width: int, class_width: int, inner_width: int) -> None:
        super().__init__()
        self.g_q = nn.Linear(width, inner_width, bias=False)
        self.g_k = nn.Linear(class_width, inner_width, bias=False)
        self.g_v = nn.Linear(class_width, width, bias=False)
        for projection in (self.g_q, self.g_k, self.g_v):
            nn.init.xavier_uniform_(projection.weight)

    def classes(self, class_tokens: Tensor) -> ClassKeys:
        """Class tokens [T, class_width] -> what mask tokens attend to, as one head."""
        return ClassKeys(self.g_k(class_tokens)[None], self.g_v(class_tokens)[None])

    def forward(self, tokens: Tensor, classes: ClassKeys) -> Tensor:
        """Mask tokens [B, Q, width] -> the mixtures of class values that stand in their place, [B, Q, width]."""
        queries = self.g_q(tokens).flatten(0, 1)[None, None]
        found = F.scaled_dot_product_attention(queries, classes.keys[None], classes.values[None], scale=1.0)
        return found[0, 0].unflatten(0, tokens.shape[:2])


class SEVE(nn.Module):
    """SEVE's own projections for all blocks of the image tower (FISA, Eqs. 3 and 4).

    Two forms (docs/fisa.md says why 'added' is the default):

    - 'added', this project's: what a mask token finds among the classes (:class:`ClassAttention`) is added to the
      normed mask token before f_q. It starts at 0.
    - 'printed', as the paper prints Eqs. 3 and 4: what it finds (:class:`PrintedClassAttention`) stands in the place of
      the normed mask token that f_q reads.

    What the paper leaves open, and how it is decided here:

    - Widths: class tokens are the text embeddings that mask embeddings are compared with, of the width shared
      by CLIP's towers; g_k and g_v lead from there to ``inner_width``, g_q from the image tower's width.
      CLIP ViT-L/14's 24 query projections are 25.2 M of the 26 M that the paper trains, which leaves 0.8 M: g is
      one set for all blocks (``shared``), and 224 inner channels are 0.80 M in ViT-L (1.19 M in the printed form).
    - Layers: every block carries SEVE, unless ``carried_by`` lists some.
    - Normalisation: mask tokens are read behind the block's first norm, which f_q reads too; class tokens have
      unit norm, times the root of their width ('rms'), so that their entries are of order 1 as those of
      normed mask tokens are, or go through a layer norm that is trained ('layer').
    - In both forms f_q alone reads the result: the tokens that go on to the next block keep CLIP's own residual.

    Args:
        width: of the image tower.
        class_width: of the class tokens.
        layers: number of blocks of the image tower.
        inner_width: of g_q, g_k and, in the form 'added', g_v.
        heads: of the attention to class tokens, 4 unless told otherwise; the printed form has none.
        shared: whether all blocks share one set of projections; else each that carries SEVE has its own.
        carried_by: indices of the blocks that carry SEVE, or None for all.
        class_norm: 'rms' or 'layer', see above.
        form: 'added' or 'printed', see above.

    Raises:
        ValueError: if heads do not divide the inner width or are given with the printed form, on a block that is not
            there, or an unknown norm or form.
    """

    def __init__(
        self,
        *,
        width: int,
        class_width: int,
        layers: int,
        inner_width: int = INNER_WIDTH,
        heads: int | None = None,
        shared: bool = True,
        carried_by: Sequence[int] | None = None,
        class_norm: ClassNorm = "rms",
        form: Form = "added",
    ) -> None:
        super().__init__()
        if form not in ("added", "printed"):
            raise ValueError(f"SEVE's form must be 'added' or 'printed', not {form!r}")
        if form == "printed" and heads is not None:
            raise ValueError(f"SEVE's printed form has no heads; leave heads out, which is {heads}")
        if heads is None:
            heads = HEADS if form == "added" else 1
        carried = sorted(set(range(layers) if carried_by is None else carried_by))
        if heads < 1 or inner_width < 1 or inner_width % heads:
            raise ValueError(f"SEVE's inner width of {inner_width} is no multiple of {heads} heads")
        if not carried or not 0 <= carried[0] <= carried[-1] < layers:
            raise ValueError(f"SEVE must be carried by some of the blocks 0 to {layers - 1}, got {carried}")
        if class_norm not in ("rms", "layer"):
            raise ValueError(f"class_norm must be 'rms' or 'layer', not {class_norm!r}")
        self.form, self.class_width = form, class_width
        self.set_of_layer = {layer: 0 if shared else index for index, layer in enumerate(carried)}
        self.sets: Any = nn.ModuleList(
            PrintedClassAttention(width, class_width, inner_width)
            if form == "printed"
            else ClassAttention(width, class_width, inner_width, heads)
            for _ in range(1 if shared else len(carried))
        )
        self.class_norm = nn.LayerNorm(class_width) if class_norm == "layer" else None

    def classes(self, class_tokens: Tensor) -> list[ClassKeys]:
        """Keys and values of the vocabulary for each set of projections, once for all blocks.

        Args:
            class_tokens: text embeddings [T, class_width] of every name that is asked for.

        Raises:
            ValueError: on another shape, or no class tokens.
        """
        if class_tokens.dim() != 2 or class_tokens.shape[1] != self.class_width or not len(class_tokens):
            raise ValueError(
                f"SEVE takes class tokens [T, {self.class_width}] of at least one class, got {list(class_tokens.shape)}"
            )
        if self.class_norm is None:
            tokens = F.normalize(class_tokens, dim=-1) * self.class_width**0.5
        else:
            tokens = self.class_norm(class_tokens)
        return [attention.classes(tokens) for attention in self.sets]

    def forward(self, layer: int, tokens: Tensor, classes: Sequence[ClassKeys]) -> Tensor:
        """Enriched mask tokens of a block.

        Args:
            layer: index of the block.
            tokens: mask tokens behind the block's first norm, [B, Q, width].
            classes: see :meth:`classes`.

        Returns:
            [B, Q, width]: m + A g_v(c), A g_v(c) in the printed form; m where the block does not carry SEVE.
        """
        index = self.set_of_layer.get(layer)
        if index is None:
            return tokens
        found: Tensor = self.sets[index](tokens, classes[index])
        return found if self.form == "printed" else tokens + found
