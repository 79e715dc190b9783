"""CLIP frozen, its last block in one of four forms, with the correlation of the block before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.clip.attention import attend, finish_block, run_block
from hclip_mmseg.models import HCLIPBackbone
from hclip_mmseg.models.features import DenseFeatures
from hclip_mmseg.training_free.last_attention import check_form, run_last_block
from hclip_mmseg.training_free.self_correlation import correlation_features

CORRELATION = ("similarity", "heads")


class PatchView(NamedTuple):
    """What CLIP says of images of one size.

    Attributes:
        tokens: [B, 1 + patches, embed_dim] projected, not normalised; the CLS token first.
        correlation: [B, 1 + patches, C] vectors whose products are the self-correlation; None if not asked for.
        grid: rows and columns of patches.
    """

    tokens: Tensor
    correlation: Tensor | None
    grid: tuple[int, int]

    def patch_map(self) -> Tensor:
        """The patches' tokens as a map [B, embed_dim, rows, columns]."""
        return self.tokens[:, 1:].transpose(1, 2).unflatten(2, self.grid)


@MODELS.register_module()
class TrainingFreeBackbone(HCLIPBackbone):
    """CLIP's towers as they are, read in a form that segments without training.

    Args:
        clip: see ``HCLIPBackbone``.
        attention: form of the last block, 'clip', 'value', 'sclip' or 'cliptrase'; see
            :func:`~.last_attention.run_last_block`.
        similarity: of that block's attention, 'inner' or 'cosine'.
        correlation: ``dict(similarity='cosine', heads='separate')``, how the tokens of the last but one block are
            correlated; see :func:`~.self_correlation.correlation_features`.
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        attention: str = "cliptrase",
        similarity: str = "inner",
        correlation: Mapping[str, str] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(clip, guidance_layers=(), guidance_channels=(), train_positions=False, init_cfg=init_cfg)
        check_form(attention, similarity)
        self.attention, self.similarity = attention, similarity
        self.correlation = dict(similarity="cosine", heads="separate") | dict(correlation or {})
        unknown = [key for key in self.correlation if key not in CORRELATION]
        if unknown:
            raise ValueError(f"unknown entries in correlation: {', '.join(unknown)}; it takes similarity and heads")
        if self.image_tower.layers < 2:
            raise ValueError("the last block but one is correlated, and this image tower has one block only")

    def forward(self, images: Tensor) -> DenseFeatures:
        """Normalised images [B, 3, H, W] -> (projected tokens of the patches [B, embed_dim, h, w],)."""
        return DenseFeatures(self.look(images, correlate=False).patch_map())

    def look(self, images: Tensor, correlate: bool = True, allowed: Tensor | None = None) -> PatchView:
        """What CLIP says of images.

        Args:
            images: normalised [B, 3, H, W]; sides are multiples of the patch.
            correlate: whether the self-correlation is wanted.
            allowed: bool [B, 1 + patches, 1 + patches], which tokens the last block's may attend to; None for all.
        """
        tower, projections = self.image_tower, self.projections("image")
        grid = tower.grid_of(*images.shape[-2:])
        x, features, last = tower.embed(images), None, tower.layers - 1
        for index, block in enumerate(tower.blocks[:last]):
            if not (correlate and index == last - 1):
                x = run_block(block, x, projections(index))
                continue
            # this block's output is CLIP's own; only what it attends with is correlated besides
            q, k, v = projections(index).qkv(block.ln_1(x))
            heads = block.attn.num_heads
            features = correlation_features(q, k, v, heads, self.correlation["similarity"], self.correlation["heads"])
            x = finish_block(block, x, attend(q, k, v, heads), projections(index))
        x = run_last_block(tower.blocks[last], x, projections(last), self.attention, self.similarity, allowed)
        return PatchView(tower.project(x), features, grid)
