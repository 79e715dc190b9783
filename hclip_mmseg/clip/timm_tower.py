"""CLIP's image tower where it is a vision transformer of timm, as SigLIP's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from open_clip.timm_model import TimmModel
from timm.layers.attention_pool import AttentionPoolLatent
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.adapters.base import Norm
from hclip_mmseg.clip.timm_blocks import TimmBlocks, own_parameters, why_not_plain
from hclip_mmseg.clip.vision_tower import VisionTower
from hclip_mmseg.files.showing import with_article


class TimmTower(VisionTower):
    """A vision transformer of timm read as :class:`~hclip_mmseg.clip.image_tower.ImageTower` reads one of open_clip.

    Takes over the modules of ``visual``; parameter names stay open_clip's (``trunk.blocks.0.attn.qkv.weight`` ...), so
    a state dict moves in either direction.

    SigLIP has no CLS token: a learned query attends to the patches behind the last block (Zhai et al., "Sigmoid Loss
    for Language Image Pre-Training", 2023). This attention is the tower's last one, so its dense form is what is made
    of CLIP's last attention: each patch alone goes through value, output projection and MLP, all blocks before run as
    they are (``residual`` 'block').

    Args:
        visual: open_clip's wrapper of a timm ViT with learned positions and pre-norm blocks.
        interpolation: how positional embeddings are resized, 'bicubic' or 'bilinear'.

    Raises:
        ValueError: if it is a trunk of another kind: what differs.
    """

    norm_names: ClassVar[Mapping[Norm, str]] = {"ln_pre": "trunk.norm_pre", "ln_last": "trunk.norm"}

    def __init__(self, visual: TimmModel, interpolation: str = "bicubic") -> None:
        super().__init__(interpolation)
        differs = self.why_not(visual.trunk)
        if differs:
            kind = with_article(type(visual.trunk).__name__)
            raise ValueError(f"the image tower is {kind} of timm with {' and '.join(differs)}")
        self.trunk: Any = visual.trunk
        self.head: nn.Sequential = visual.head
        self.grid_size = (self.trunk.patch_embed.grid_size[0], self.trunk.patch_embed.grid_size[1])
        self.prefix = 0 if self.trunk.cls_token is None else 1
        if self.trunk.attn_pool is not None or not self.prefix:
            self.default_residual = "block"
        self._embed_dim = _width_after(self.trunk, self.head)

    @classmethod
    def why_not(cls, trunk: nn.Module) -> list[str]:
        """What keeps a trunk from being read by this class; nothing where it can be."""
        if not isinstance(trunk, VisionTransformer):
            return ["layers of its own: no vision transformer"]
        return why_not_read(trunk)

    @property
    def blocks(self) -> TimmBlocks:
        """The transformer's blocks, seen as CLIP's."""
        return TimmBlocks(self.trunk.blocks)

    @property
    def positional_embedding(self) -> nn.Parameter:
        """[1, prefix + patches, width]."""
        positions: nn.Parameter = self.trunk.pos_embed
        return positions

    @property
    def width(self) -> int:
        """Width of the tokens between the blocks."""
        return int(self.trunk.embed_dim)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.trunk.patch_embed.patch_size[0])

    @property
    def embed_dim(self) -> int:
        """Width of the embeddings shared with the text tower."""
        return self._embed_dim

    def embed(self, images: Tensor, adapter: Adapter | None = None) -> Tensor:
        """Normalised images [B, 3, H, W] -> tokens before the first block [B, prefix + patches, width], CLS first.

        Raises:
            ValueError: if a side is no positive multiple of the patch size.
        """
        grid = self.grid_of(*images.shape[-2:])
        patches_of = self.trunk.patch_embed.proj
        tokens = patches_of(images.to(patches_of.weight.dtype)).flatten(2).transpose(1, 2)
        if self.prefix:
            cls = self.trunk.cls_token.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([cls, tokens], dim=1)
        positions = self.held_positions.resized(
            self.positional_embedding, self.grid_size, grid, self.interpolation, self.prefix
        )
        norm = self.trunk.norm_pre
        normed: Tensor = norm(tokens + positions.to(tokens.dtype))
        if adapter is None or isinstance(norm, nn.Identity):
            return normed
        return adapter.normed("image", None, "ln_pre", normed)

    def project(self, tokens: Tensor, adapter: Adapter | None = None) -> Tensor:
        """Norms, attention pooling of each token alone, and projections: [..., width] -> [..., embed_dim]."""
        x, pool = self._normed(tokens, adapter), self.trunk.attn_pool
        if pool is not None:
            x = pool.proj(pool.kv(x).chunk(2, dim=-1)[1])
            x = x + pool.mlp(pool.norm(x))
        embeddings: Tensor = self.head(self.trunk.head(self.trunk.fc_norm(x)))
        return embeddings

    def pool(self, tokens: Tensor, adapter: Adapter | None = None) -> Tensor:
        """The embedding of images, as timm pools tokens: [B, prefix + patches, width] -> [B, embed_dim]."""
        embeddings: Tensor = self.head(self.trunk.forward_head(self._normed(tokens, adapter)))
        return embeddings

    def own_parameters(self, layer: int, of_block: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See :class:`~hclip_mmseg.clip.vision_tower.VisionTower`."""
        own = own_parameters(self.trunk.blocks[layer], of_block)
        return {f"trunk.blocks.{layer}.{name}": value for name, value in own.items()}

    def _normed(self, tokens: Tensor, adapter: Adapter | None) -> Tensor:
        normed: Tensor = self.trunk.norm(tokens)
        return normed if adapter is None else adapter.normed("image", None, "ln_last", normed)


def why_not_read(trunk: Any) -> list[str]:
    """What of a ViT or EVA of timm cannot be read: in patches, positions, pooling and blocks."""
    differs = []
    if not isinstance(trunk.patch_embed, PatchEmbed) or not isinstance(trunk.patch_embed.norm, nn.Identity):
        differs.append("patches that are not made by one convolution")
    prefix = 0 if trunk.cls_token is None else 1
    if trunk.pos_embed is None or trunk.num_prefix_tokens != prefix or (prefix and trunk.no_embed_class):
        differs.append("no learned position for one CLS token and each patch")
    pool = trunk.attn_pool
    if pool is None and trunk.global_pool not in ("token", "avg"):
        differs.append(f"pooling by {trunk.global_pool!r}")
    if pool is not None and (type(pool) is not AttentionPoolLatent or pool.pos_embed is not None or pool.mlp is None):
        differs.append(f"another attention pooling ({type(pool).__name__})")
    blocks = why_not_plain(trunk.blocks)
    return differs if blocks is None else [*differs, blocks]


def _width_after(trunk: Any, head: Sequence[nn.Module]) -> int:
    linear = [module for module in [trunk.head, *head] if isinstance(module, nn.Linear)]
    return int(linear[-1].out_features) if linear else int(trunk.embed_dim)
