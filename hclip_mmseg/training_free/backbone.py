"""CLIP frozen, its last block in a method's form, with the correlation of the block before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.clip import ImageTower, VisionTower
from hclip_mmseg.clip.attention import attend, finish_block, run_block
from hclip_mmseg.files.near_names import did_you_mean
from hclip_mmseg.models import HCLIPBackbone
from hclip_mmseg.models.features import DenseFeatures
from hclip_mmseg.training_free.dense import DenseMethod, DenseTokens, ImageContext, Trunk, whole_patches
from hclip_mmseg.training_free.last_attention import FORMS, Form, attention_weights, check_form, run_last_block
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

    Attributes:
        method: a method of its own, or None.
        correlates: whether the last block compares tokens with their like by one of the forms.

    Args:
        clip: see ``HCLIPBackbone``.
        attention: form of the last block, one of :data:`~.last_attention.FORMS` such as 'naclip'; or a form with
            changes, ``dict(type='naclip', sigma=3.0, mlp=True)``; or a method of its own, such as
            ``dict(type='ProxyAttention', features=dict(...))``.
        similarity: of that block's attention, 'inner' or 'cosine'.
        correlation: ``dict(similarity='cosine', heads='separate')``, how the tokens of the last but one block are
            correlated; see :func:`~.self_correlation.correlation_features`.
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        attention: str | Mapping[str, Any] = "cliptrase",
        similarity: str = "inner",
        correlation: Mapping[str, str] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(clip, guidance_layers=(), guidance_channels=(), train_positions=False, init_cfg=init_cfg)
        self.check_tower(self.image_tower, clip["model"])
        self.method: DenseMethod | None = None
        self.attention, self.similarity = self._form(attention), similarity
        form = check_form(self.attention, similarity)
        self.correlates = self.method is None and form.correlated
        if similarity != "inner" and not self.correlates:
            raise ValueError(
                f"similarity={similarity!r} is of tokens that are compared with their like, which the attention "
                f"{attention!r} has none of: leave it out, or choose one such as 'sclip'"
            )
        self.correlation = dict(similarity="cosine", heads="separate") | dict(correlation or {})
        unknown = [key for key in self.correlation if key not in CORRELATION]
        if unknown:
            raise ValueError(f"unknown entries in correlation: {', '.join(unknown)}; it takes similarity and heads")
        if self.image_tower.layers < 2:
            raise ValueError("the last block but one is correlated, and this image tower has one block only")

    @staticmethod
    def check_tower(tower: VisionTower | None, model: object) -> None:
        """Check that an image tower, None for one that is none of ours, is one whose last attention the methods read.

        Raises:
            ValueError: if it is not CLIP's vision transformer, with a CLS token that it is read at.
        """
        if not isinstance(tower, ImageTower) or tower.pooling != "tok":
            raise ValueError(
                f"methods without training read the last attention between a CLS token and patches, which the image "
                f"tower of {model!r} has not in CLIP's form; choose one such as ViT-B-16, ViT-L-14 or ViT-H-14"
            )

    def _form(self, attention: str | Mapping[str, Any]) -> str | Form:
        """The last block's form; a method of its own becomes :attr:`method`, and the form is CLIP's."""
        if isinstance(attention, str):
            return attention
        changes = dict(attention)
        kind = changes.pop("type", None)
        if kind in FORMS:
            known = [setting.name for setting in fields(Form)]
            for name in changes:
                if name not in known:
                    meant = did_you_mean(name, known) or f"; it has {', '.join(known)}"
                    raise ValueError(f"attention {kind!r} has no setting {name!r}{meant}")
            return replace(FORMS[kind], **changes)
        self.method = MODELS.build(dict(attention))
        if not isinstance(self.method, DenseMethod):
            raise ValueError(f"attention is no method of the last block: {type(self.method).__name__}")
        self.method.check(self.image_tower)
        return "clip"

    def dense(self, pixels: Tensor, context: ImageContext) -> DenseTokens:
        """Dense tokens of windows of one image, before the last norm and projection.

        Args:
            pixels: normalised [n, 3, h, w]; what fills no whole patch is left out, as a patch convolution does.
            context: of the image.
        """
        tower, projections = self.image_tower, self.projections("image")
        pixels, trunk = whole_patches(pixels, tower.patch_size), Trunk(tower, projections)
        if self.method is not None:
            found: DenseTokens = self.method(trunk, pixels, context)
            return found
        grid, last = tower.grid_of(*pixels.shape[-2:]), trunk.last
        x, _ = trunk.run(pixels)
        if context.kept is not None:
            weights = attention_weights(tower.blocks[last], x, projections(last), self.attention, self.similarity, grid)
            context.keep("attention", weights, grid)
        x = run_last_block(tower.blocks[last], x, projections(last), self.attention, self.similarity, grid=grid)
        return DenseTokens(x[:, 1:], grid)

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
        x = run_last_block(tower.blocks[last], x, projections(last), self.attention, self.similarity, allowed, grid)
        return PatchView(tower.project(x), features, grid)
