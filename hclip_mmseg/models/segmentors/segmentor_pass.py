"""What a segmentor computes of the views of an image, as a module of its own."""

from __future__ import annotations

from torch import Tensor, nn

from hclip_mmseg.models.clip_backbone import CLIPBackbone
from hclip_mmseg.models.decode_heads import OpenVocabDecodeHead
from hclip_mmseg.models.features import HeadInputs


class SegmentorPass(nn.Module):
    """Views -> logits of fixed names: depends on its input alone, and looks at no number in a tensor.

    Args:
        backbone: the image side of CLIP, adapters folded; see ``CLIPBackbone.image_side``.
        decode_head: the head.
        text: unit-norm embeddings of the names [T, P, C].
    """

    text: Tensor

    def __init__(self, backbone: CLIPBackbone, decode_head: OpenVocabDecodeHead, text: Tensor) -> None:
        super().__init__()
        self.backbone, self.decode_head = backbone, decode_head
        self.register_buffer("text", text)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalised views [B, 3, H, W] -> (logits [B, K, h, w],), and the [B, K] names that they belong to if K < T.

        H and W are the model's ``clip_resolution``.
        """
        features = self.backbone(images)
        logits, kept = self.decode_head.most_similar(HeadInputs(features.dense, features.guidance, self.text))
        return (logits,) if kept is None else (logits, kept)
