"""Regions by another model's patches: DINO's, DINOv2's, DINOv3's, or any vision transformer's of timm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.clip.attention import PlainProjections, attend, finish_block
from hclip_mmseg.clip.timm_blocks import TimmBlock, turned
from hclip_mmseg.files.checkpoints import load
from hclip_mmseg.files.paths import locate, looked_in
from hclip_mmseg.files.state_dicts import find_state_dict

CLIP_MEAN, CLIP_STD = (122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.32316305)


@MODELS.register_module()
class TimmPatchFeatures(nn.Module):
    """Unit-norm tokens of a frozen vision transformer, on the same grid of patches as CLIP's.

    Their products are cosines, so they stand where CLIP's self-correlation does (CLIPtrase's row "with DINOv2 masks").

    Args:
        model: timm's name, such as 'vit_base_patch16_224.dino', 'vit_base_patch14_dinov2' or 'vit_base_patch16_dinov3'.
        weights: file with the model's weights, the owners' or timm's. Of a config that is opened
            (``apis.opening.open_model``) None is those that timm publishes under that name, which are fetched.
        mean, std: of the images that come, in 0..255.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if timm knows no such model, or the file is damaged or holds another's weights.
    """

    def __init__(
        self, model: str, weights: str | None = None, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD
    ) -> None:
        super().__init__()
        if not timm.is_model(model):
            raise ValueError(f"timm knows no model {model!r}, such as 'vit_base_patch14_dinov2'")
        path = None if weights is None else locate(weights)
        if path is None:
            where = "no file is given" if weights is None else f"looked for at {looked_in(weights)}"
            raise FileNotFoundError(
                f"no weights of {model}: {where}. A model that is asked for by its name fetches them (--model)"
            )
        # timm reads NumPy's archives itself, which hold arrays alone
        source = dict(file=str(path)) if path.suffix == ".npz" else dict(state_dict=dict(find_state_dict(load(path))))
        try:
            vit = timm.create_model(
                model,
                pretrained=True,
                pretrained_cfg_overlay=dict(source, num_classes=0),
                num_classes=0,
                dynamic_img_size=True,
            )
            self.vit = cast(Any, vit)
        except (RuntimeError, KeyError) as error:
            raise ValueError(f"{path} does not hold the weights of timm's {model}: {error}") from error
        self.vit.pretrained_cfg.pop("state_dict", None)  # else held in memory as long as the model
        if getattr(self.vit, "cls_token", None) is None:
            raise ValueError(f"timm's {model} has no CLS token, which the regions are freed of; choose one that has")
        self.vit.eval().requires_grad_(False)
        own_mean, own_std = (255 * torch.tensor(self.vit.pretrained_cfg[key]) for key in ("mean", "std"))
        self.register_buffer("scale", (torch.tensor(std) / own_std).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", ((torch.tensor(mean) - own_mean) / own_std).view(3, 1, 1), persistent=False)

    def grid_of(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of this model's own patches in images of a height and width in pixels, at least 1."""
        patch = self.vit.patch_embed.patch_size
        return max(height // patch[0], 1), max(width // patch[1], 1)

    def last_qkv(self, images: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v of the last block, each [B, patches, C], all heads side by side; arguments as :meth:`forward`."""
        return self.last_block(images, grid)[1:]

    def last_block(self, images: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What goes into the last block and its q, k and v, each [B, patches, C]; arguments as :meth:`forward`."""
        patches, prefix = self.vit.forward_intermediates(
            self._prepared(images, grid),
            indices=[len(self.vit.blocks) - 2],
            norm=False,
            output_fmt="NLC",
            intermediates_only=True,
            return_prefix_tokens=True,
        )[0]
        block, before = TimmBlock(self.vit.blocks[-1]), prefix.shape[1]
        q, k, v = PlainProjections.of(block.attn).qkv(block.ln_1(torch.cat([prefix, patches], dim=1)))
        rope = getattr(self.vit, "rope", None)
        if rope is not None:  # of DINOv3
            angles, attention = rope.get_embed(shape=list(grid)), self.vit.blocks[-1].attn
            q, k = turned(q, angles, attention, before), turned(k, angles, attention, before)
        return patches, q[:, before:], k[:, before:], v[:, before:]

    def final_norm(self, tokens: Tensor) -> Tensor:
        """Tokens [..., C] behind the norm that follows the last block."""
        normed: Tensor = self.vit.norm(tokens)
        return normed

    def finish_last_block(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The last block's output [B, patches, C] from its parts, which may be of several windows together."""
        block = TimmBlock(self.vit.blocks[-1])
        return finish_block(block, x, attend(q, k, v, block.attn.num_heads), PlainProjections.of(block.attn))

    def _prepared(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Images normalised for CLIP -> for this model, at the size of the grid."""
        patch = self.vit.patch_embed.patch_size
        size = (grid[0] * patch[0], grid[1] * patch[1])
        images = images * self.get_buffer("scale") + self.get_buffer("shift")
        if tuple(images.shape[-2:]) == size:
            return images
        return F.interpolate(images, size=size, mode="bicubic", antialias=True)

    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features on a grid.

        Args:
            images: normalised for CLIP, [B, 3, H, W].
            grid: rows and columns of patches that are wanted.

        Returns:
            [B, 1 + patches, C], of unit norm, the CLS token first.
        """
        tokens = F.normalize(self.vit.forward_features(self._prepared(images, grid)), dim=-1)
        return torch.cat([tokens[:, :1], tokens[:, self.vit.num_prefix_tokens :]], dim=1)
