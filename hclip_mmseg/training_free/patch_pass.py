"""What a frozen CLIP says of patches, as a module of its own."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.training_free.backbone import PatchView, TrainingFreeBackbone


def patch_logits(view: PatchView, text: Tensor, scale: Tensor, times_cls: bool) -> Tensor:
    """Cosine of every patch's token and every name times CLIP's scale.

    Args:
        view: what CLIP says of images.
        text: unit-norm embeddings of the names [T, C].
        scale: CLIP's factor on cosines, a scalar.
        times_cls: whether the patches' logits are multiplied by the CLS token's.

    Returns:
        [B, T, rows, columns].
    """
    tokens = F.normalize(view.tokens, dim=-1)
    logits = scale * (tokens @ text.T.to(tokens.dtype))
    patches = logits[:, 1:] * logits[:, :1] if times_cls else logits[:, 1:]
    return patches.transpose(1, 2).unflatten(2, view.grid)


class PatchPass(nn.Module):
    """Images -> logits of fixed names for every patch: depends on its input alone.

    Args:
        backbone: the image side of CLIP; see ``HCLIPBackbone.image_side``.
        text, scale, times_cls: see :func:`patch_logits`.
    """

    text: Tensor
    scale: Tensor

    def __init__(self, backbone: TrainingFreeBackbone, text: Tensor, scale: Tensor, times_cls: bool) -> None:
        super().__init__()
        self.backbone, self.times_cls = backbone, times_cls
        self.register_buffer("text", text)
        self.register_buffer("scale", scale)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Normalised images [B, 3, H, W], whose sides are multiples of the patch, -> (logits [B, T, h, w],)."""
        view = self.backbone.look(images, correlate=False)
        return (patch_logits(view, self.text, self.scale, self.times_cls),)
