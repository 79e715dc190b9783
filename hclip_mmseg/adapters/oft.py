"""OFT: orthogonal fine-tuning, every projection turned on its input side."""

from __future__ import annotations

from typing import Any

from hclip_mmseg.adapters.pop import POP


class OFT(POP):
    """W' = W R with block-diagonal orthogonal R (Qiu et al., "Controlling Text-to-Image Diffusion by Orthogonal
    Finetuning", 2023, Section 3.3).

    Their W has its neurons as columns and is turned from the left; here neurons are rows, so R stands on the
    right, for 'out' too. It is POP with both towers orthogonal, without relation, and with one side; X
    holds each free number of a block twice, and S = (X - X^T) / 2 reads the difference.

    Args:
        block_size: q. 128 in ViT-B/16 is 480 blocks, 3.75 Mi numbers with orthogonal blocks counted half: the
            3.8 M of the H-CLIP paper's row.
        sizes: see :class:`~hclip_mmseg.adapters.pop.POP`.

    Raises:
        ValueError: if the block size does not divide the widths.
    """

    def __init__(self, *, block_size: int = 128, **sizes: Any) -> None:
        super().__init__(
            block_size=block_size, orthogonal=("image", "text"), relation=None, sides={"out": "input"}, **sizes
        )
