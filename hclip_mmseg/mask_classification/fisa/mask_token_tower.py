"""CLIP's image tower with a mask token for each proposal beside the image tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.clip import AdaptedTower, EvaTower, ImageTower
from hclip_mmseg.clip.attention import attend, finish_block
from hclip_mmseg.mask_classification.fisa.mask_bias import BiasGradient, mask_bias
from hclip_mmseg.mask_classification.fisa.seve import SEVE, ClassKeys
from hclip_mmseg.mask_classification.fisa.tuned_queries import TunedQueries


class ImageState(NamedTuple):
    """Image tokens before a block, and the keys and values that its attention makes of them.

    Each is [B, 1 + patches, width], the CLS token first.
    """

    tokens: Tensor
    keys: Tensor
    values: Tensor


class MaskTokenTower(nn.Module):
    """Mask embeddings from CLIP's image tower (FISA, Eqs. 1 to 5).

    Image tokens run as in CLIP and never see a mask token. Beside them run mask tokens m, one for each proposal,
    all started from the CLS token before the first block. In a block, with x the image tokens before it:

    - n = ln_1(m), and with SEVE n <- n + softmax(g_q(n) g_k(c)^T / sqrt(d)) g_v(c), or n <- softmax(g_q(n) g_k(c)^T)
      g_v(c) in the printed form                                                         (Eqs. 3 and 4)
    - q = f_q(n), k = f_k(ln_1(x)), v = f_v(ln_1(x))                                     (Eq. 2)
    - m <- m + out(softmax(q k^T / sqrt(d) + M) v), then m <- m + mlp(ln_2(m))           (Eq. 1)

    M is :func:`~hclip_mmseg.mask_classification.fisa.mask_bias.mask_bias` (Eq. 5). After the last block mask
    tokens go through CLIP's last norm and projection.

    Which tokens use which projections: mask tokens use ``queries`` (SIMO's trained f_q) where given; image tokens
    always use CLIP's own q, k, v, out and MLP, and mask tokens CLIP's own out, MLP and norms. ``adapter`` changes
    CLIP's projections for both.

    What the paper leaves open, and how it is decided here: mask tokens attend to the patches alone, not to the
    CLS token, which no mask covers or misses, nor to each other; what SEVE finds enters the query alone and not
    the tokens that go on to the next block, so that an embedding is made of what the image shows.

    Args:
        tower: CLIP's image tower.
        seve: SEVE's projections, or None to leave Eqs. 3 and 4 out.
        queries: f_q for mask tokens, or None for the tower's own.
        adapter: changes the tower's projections, or None; must be foldable, that is a change of weights alone.
        bias_gradient: see :func:`~hclip_mmseg.mask_classification.fisa.mask_bias.mask_bias`.
        checkpoint_blocks: compute the image tokens' blocks again in the backward pass where they are trained,
            instead of keeping what is inside them.

    Raises:
        ValueError: if the adapter does more than change weights, or is given beside ``queries``.
    """

    def __init__(
        self,
        tower: ImageTower | EvaTower,
        seve: SEVE | None = None,
        queries: TunedQueries | None = None,
        adapter: Adapter | None = None,
        bias_gradient: BiasGradient = "none",
        checkpoint_blocks: bool = False,
    ) -> None:
        super().__init__()
        if adapter is not None and not adapter.foldable:
            raise ValueError(
                f"{type(adapter).__name__} does more than change weights; mask tokens take LoRA and its like"
            )
        if adapter is not None and queries is not None:
            raise ValueError("trained query projections and an adapter of the projections exclude each other")
        self.tower, self.seve, self.queries, self.adapter = tower, seve, queries, adapter
        self.bias_gradient: BiasGradient = bias_gradient
        self.checkpoint_blocks = checkpoint_blocks

    def forward(self, images: Tensor, mask_logits: Tensor, class_tokens: Tensor | None = None) -> Tensor:
        """Embeddings of proposals.

        Args:
            images: as CLIP takes them, normalised, [B, 3, H, W]; sides are multiples of the patch.
            mask_logits: [B, Q, h, w] of the same part of the image, of any size.
            class_tokens: text embeddings [T, embed_dim] of the vocabulary; needed with SEVE, else ignored.

        Returns:
            [B, Q, embed_dim], not normalised.

        Raises:
            ValueError: on images and masks of different numbers, no proposal, or class tokens that are missing.
        """
        if mask_logits.dim() != 4 or len(mask_logits) != len(images) or not mask_logits.shape[1]:
            raise ValueError(
                f"{len(images)} images need mask logits [{len(images)}, Q, h, w] with at least one proposal, "
                f"got {list(mask_logits.shape)}"
            )
        classes: list[ClassKeys] = []
        if self.seve is not None:
            if class_tokens is None:
                raise ValueError("SEVE attends to class tokens: set a vocabulary")
            classes = self.seve.classes(class_tokens)
        patch = self.tower.patch_size
        grid = (images.shape[-2] // patch, images.shape[-1] // patch)
        bias = mask_bias(mask_logits, grid, patch, self.bias_gradient)
        tokens = torch.empty(0)
        for layer, image in enumerate(self.image_states(images)):
            if layer == 0:
                tokens = image.tokens[:, :1].expand(-1, mask_logits.shape[1], -1)
            tokens = self._mask_block(layer, tokens, image, bias, classes)
        return self._adapted.project(tokens)

    def image_states(self, images: Tensor) -> Iterator[ImageState]:
        """What the image tokens are in each block; the work of a block is done when the next one is asked for.

        Args:
            images: see :meth:`forward`.
        """
        trained = self.trains_image_tokens() and torch.is_grad_enabled()
        with torch.set_grad_enabled(trained):
            x = self._adapted.embed(images)
        for layer in range(self.tower.layers):
            with torch.set_grad_enabled(trained):
                q, k, v = self._run(self._project_image, layer, x)
            yield ImageState(x, k, v)
            if layer + 1 < self.tower.layers:
                with torch.set_grad_enabled(trained):
                    x = self._run(self._finish_image, layer, x, q, k, v)

    def trains_image_tokens(self) -> bool:
        """Whether image tokens depend on anything that is trained."""
        modules = [self.tower] if self.adapter is None else [self.tower, self.adapter]
        return any(parameter.requires_grad for module in modules for parameter in module.parameters())

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self.checkpoint_blocks and torch.is_grad_enabled():
            return checkpoint(function, *arguments, use_reentrant=False)
        return function(*arguments)

    def _project_image(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projections = self._adapted.projections(layer)
        return projections.qkv(projections.normed("ln_1", self.tower.blocks[layer].ln_1(x)))

    def _finish_image(self, layer: int, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        block = self.tower.blocks[layer]
        return finish_block(block, x, attend(q, k, v, block.attn.num_heads), self._adapted.projections(layer))

    def _mask_block(
        self, layer: int, tokens: Tensor, image: ImageState, bias: Tensor, classes: Sequence[ClassKeys]
    ) -> Tensor:
        block, projections = self.tower.blocks[layer], self._adapted.projections(layer)
        normed = projections.normed("ln_1", block.ln_1(tokens))
        if self.seve is not None:
            normed = self.seve(layer, normed, classes)
        # copies, since views would keep the queries beside them until the backward pass
        keys, values = image.keys[:, 1:].contiguous(), image.values[:, 1:].contiguous()
        query = projections.query(normed) if self.queries is None else self.queries(layer, normed)
        mixed = attend(query, keys, values, block.attn.num_heads, bias=bias)
        return finish_block(block, tokens, mixed, projections)

    @property
    def _adapted(self) -> AdaptedTower[Any]:
        return AdaptedTower(self.tower, self.adapter)
