"""What a segmentor computes of the views of an image, alone, to be exported or compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hclip_mmseg.adapters import Held
from hclip_mmseg.models.clip_backbone import CLIPBackbone
from hclip_mmseg.models.decode_heads import OpenVocabDecodeHead
from hclip_mmseg.models.features import HeadInputs


def logits_of_views(
    backbone: CLIPBackbone, decode_head: OpenVocabDecodeHead, views: Tensor, text: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Normalised views [B, 3, H, W] and embeddings [T, P, C] -> see ``OpenVocabDecodeHead.most_similar``."""
    features = backbone(views)
    return decode_head.most_similar(HeadInputs(features.dense, features.guidance, text))


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
        logits, kept = logits_of_views(self.backbone, self.decode_head, images, self.text)
        return (logits,) if kept is None else (logits, kept)


class ViewsPass(nn.Module):
    """:func:`logits_of_views` of one backbone, whose adapters are folded, and one head."""

    def __init__(self, backbone: CLIPBackbone, decode_head: OpenVocabDecodeHead) -> None:
        super().__init__()
        self.backbone, self.decode_head = backbone, decode_head

    def forward(self, views: Tensor, text: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :func:`logits_of_views`."""
        return logits_of_views(self.backbone, self.decode_head, views, text)


class CompiledViews(nn.Module):
    """:func:`logits_of_views` through torch.compile, for inference; follows weights that change.

    Args:
        settings: arguments of torch.compile, such as ``dict(mode='reduce-overhead')``, which records views of one
            number and size as a CUDA graph; True for torch's own; False or None for no compilation.

    Raises:
        ValueError: if it is none of these.
    """

    def __init__(self, settings: bool | Mapping[str, Any] | None) -> None:
        super().__init__()
        if not isinstance(settings, bool | Mapping | None):
            raise ValueError(f"test_cfg.compile must be True, False or arguments of torch.compile, not {settings!r}")
        self.options = {k: _plain(v) for k, v in settings.items()} if isinstance(settings, Mapping) else {}
        self.enabled = settings is True or isinstance(settings, Mapping)
        self._compiled: Held[Callable[..., tuple[Tensor, Tensor | None]]] = Held()

    def forward(
        self, backbone: CLIPBackbone, decode_head: OpenVocabDecodeHead, views: Tensor, text: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """See :func:`logits_of_views`."""
        if not self.enabled:
            return logits_of_views(backbone, decode_head, views, text)
        compiled = self._compiled.get(
            lambda: [*backbone.parameters(), *decode_head.parameters()],
            lambda: torch.compile(ViewsPass(backbone.image_side(), decode_head), **self.options),
        )
        logits, kept = compiled(views, text)
        # the next run of a CUDA graph writes where these lie
        return logits.clone(), None if kept is None else kept.clone()

    def settle(self) -> None:
        """Compare no parameters until :meth:`forget`."""
        self._compiled.settle()

    def forget(self) -> None:
        """Drop the compiled pass; it is made again when next needed."""
        self._compiled.forget()


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value  # torch.compile takes no ConfigDict
