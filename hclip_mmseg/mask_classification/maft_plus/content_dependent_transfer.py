"""Text embeddings that know the image: content-dependent transfer (MAFT+, Eqs. 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdet.models.layers import SinePositionalEncoding
from torch import Tensor, nn

FORMS = ("printed", "paper", "semantic", "panoptic", "mlp")


class CrossAttention(nn.Module):
    """Text embeddings attend to an image's features, their positions told by sines.

    Args:
        channels: width C of both, a multiple of 4 and of ``heads``.
        heads: of the attention.
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, texts: Tensor, features: Tensor, positions: Tensor) -> Tensor:
        """Queries ``texts`` [B, N, C], keys ``features + positions``, values ``features`` [B, HW, C] -> [B, N, C]."""
        read: Tensor = self.attention(texts, features + positions, features, need_weights=False)[0]
        return read


class PrintedLayer(CrossAttention):
    """T <- LN(T + MHA(T, F, F)) (MAFT+, Eqs. 5 and 6, with the layer norm that their text names); no positions.

    Where the norm stands is not printed; here, as in the published code, behind the sum.

    Args:
        channels, heads: see :class:`CrossAttention`.
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__(channels, heads)
        self.norm = nn.LayerNorm(channels)

    def forward(self, texts: Tensor, features: Tensor, positions: Tensor) -> Tensor:
        """See :class:`CrossAttention`; ``positions`` are not read."""
        read: Tensor = self.norm(texts + self.attention(texts, features, features, need_weights=False)[0])
        return read


class PaperLayer(CrossAttention):
    """T <- T + MHA(T, F + pos, F): Eqs. 5 and 6 with positions added and without the norm, this project's form.

    The attention's output starts at 0, so T at itself.
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__(channels, heads)
        nn.init.zeros_(self.attention.out_proj.weight)
        nn.init.zeros_(self.attention.out_proj.bias)

    def forward(self, texts: Tensor, features: Tensor, positions: Tensor) -> Tensor:
        """See :class:`CrossAttention`."""
        return texts + super().forward(texts, features, positions)


class PublishedLayer(CrossAttention):
    """The layer of the published code: T <- LN(T + Linear(MHA(T, F + pos, F))) for semantic segmentation.

    For panoptic segmentation T <- T + LN(Linear(MHA(T, F + pos, F))), the linear layer started at 0.

    Args:
        channels, heads: see :class:`CrossAttention`.
        panoptic: which of the two.
    """

    def __init__(self, channels: int, heads: int = 8, panoptic: bool = False) -> None:
        super().__init__(channels, heads)
        self.panoptic = panoptic
        self.linear = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        if panoptic:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def forward(self, texts: Tensor, features: Tensor, positions: Tensor) -> Tensor:
        """See :class:`CrossAttention`."""
        read: Tensor = self.linear(super().forward(texts, features, positions))
        result: Tensor = texts + self.norm(read) if self.panoptic else self.norm(texts + read)
        return result


class TextMLP(nn.Module):
    """T <- T + MLP(T): text embeddings changed without looking at the image, an ablation's row of MAFT+.

    Args:
        channels: width of the embeddings.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Linear(channels, channels)
        self.layers = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, texts: Tensor, features: Tensor, positions: Tensor) -> Tensor:
        """``texts`` [B, N, C] -> [B, N, C]; the image is not read."""
        changed: Tensor = texts + self.layers(texts)
        return changed


class ContentDependentTransfer(nn.Module):
    """Makes a vocabulary's embeddings depend on the image (MAFT+, Eqs. 5 and 6).

    Args:
        channels: width C of text embeddings and projected features, a multiple of 4 and of ``heads``.
        type: 'printed', layers of :class:`PrintedLayer`; 'paper', :class:`PaperLayer`; 'semantic' or 'panoptic',
            :class:`PublishedLayer`; 'mlp', :class:`TextMLP`.
        layers: how many. None: 2 in the forms 'printed' and 'paper', else 1.
        heads: of the attention.

    Raises:
        ValueError: on another type, or a width that does not divide.
    """

    def __init__(self, channels: int, type: str = "paper", layers: int | None = None, heads: int = 8) -> None:
        super().__init__()
        if type not in FORMS:
            raise ValueError(f"cdt.type must be one of {', '.join(FORMS)}, not {type!r}")
        if channels % 4 or channels % heads:
            raise ValueError(
                f"cdt needs embeddings whose width is a multiple of 4 and of {heads} heads, not {channels}"
            )
        options: Mapping[str, Any] = {} if type == "mlp" else dict(heads=heads)
        if type in ("semantic", "panoptic"):
            options = dict(options, panoptic=type == "panoptic")
        layer = {"printed": PrintedLayer, "paper": PaperLayer, "mlp": TextMLP}.get(type, PublishedLayer)
        count = layers or (2 if type in ("printed", "paper") else 1)
        self.layers = nn.ModuleList(layer(channels, **options) for _ in range(count))
        self.positions = SinePositionalEncoding(channels // 2, normalize=True)

    def forward(self, texts: Tensor, features: Tensor) -> Tensor:
        """Embeddings of every image's own.

        Args:
            texts: [N, C].
            features: projected map of the last stage, [B, C, H, W].

        Returns:
            [B, N, C].
        """
        mask = features.new_zeros(len(features), *features.shape[-2:]).bool()
        positions = self.positions(mask).flatten(2).transpose(1, 2).to(features.dtype)
        keys = features.flatten(2).transpose(1, 2)
        texts = texts.expand(len(features), -1, -1)
        for layer in self.layers:
            texts = layer(texts, keys, positions)
        return texts
