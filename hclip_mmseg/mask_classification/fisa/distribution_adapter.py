"""The Distribution Adapter on the proposals' masks."""

from __future__ import annotations

from torch import Tensor, nn

from hclip_mmseg.mask_classification.fisa.proposal_chunks import over_proposals


class DistributionAdapter(nn.Module):
    """Changes mask logits by a few 3 x 3 convolutions: M <- M + f(M) (FISA, the adapter before the mask bias).

    Each proposal's mask is adapted by itself, by the same weights, so the number of proposals is free. The paper
    says how many convolutions there are and not how they start; here they are a branch beside the mask, with GELU
    between them, whose last convolution starts at 0, so that masks pass unchanged at first.

    Args:
        depth: how many convolutions; 0 leaves masks as they are (the paper's rows go from 0 to 3).
        channels: between two convolutions.
        chunk: how many masks are adapted at once.

    Raises:
        ValueError: on a negative depth, or fewer than one channel or mask at once.
    """

    def __init__(self, depth: int = 2, channels: int = 16, chunk: int = 16) -> None:
        super().__init__()
        if depth < 0 or channels < 1 or chunk < 1:
            raise ValueError(
                "a Distribution Adapter has depth >= 0, channels >= 1 and chunk >= 1, "
                f"got {depth}, {channels} and {chunk}"
            )
        self.chunk = chunk
        widths = [1, *[channels] * (depth - 1), 1]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, padding=1)
            for before, after in zip(widths[:depth], widths[1 : depth + 1], strict=True)
        )
        if depth:
            for parameter in self.convolutions[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, mask_logits: Tensor) -> Tensor:
        """Mask logits [B, Q, h, w] -> adapted mask logits of the same shape."""
        if not self.convolutions:
            return mask_logits
        return over_proposals(self._adapt, mask_logits, self.chunk)

    def _adapt(self, mask_logits: Tensor) -> Tensor:
        x = mask_logits
        for index, convolution in enumerate(self.convolutions):
            x = convolution(nn.functional.gelu(x) if index else x)
        return mask_logits + x
