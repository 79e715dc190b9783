"""CLIP's query projections, trained for mask tokens alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.clip import EvaTower, ImageTower


class TunedQueries(nn.Module):
    """A trained copy of f_q of every block, for mask tokens (FISA, SIMO).

    SIMO trains CLIP's query projections and leaves all else of CLIP frozen. open_clip keeps q, k and v of a block in
    one weight, and image tokens stay as CLIP computes them; so mask tokens go through this copy, which starts as
    CLIP's, and image tokens through CLIP's own. :meth:`folded` writes the copy where the query rows were.

    Args:
        tower: the image tower; stays untouched.

    Attributes:
        weight: [layers, width, width].
        bias: [layers, width], or None where the tower's projections have none.
    """

    def __init__(self, tower: ImageTower | EvaTower) -> None:
        super().__init__()
        width = tower.width
        attentions = [block.attn for block in tower.blocks]
        self.weight = nn.Parameter(torch.stack([a.in_proj_weight.detach()[:width] for a in attentions]))
        self.bias: nn.Parameter | None = None
        if attentions[0].in_proj_bias is not None:
            self.bias = nn.Parameter(torch.stack([a.in_proj_bias.detach()[:width] for a in attentions]))

    def forward(self, layer: int, tokens: Tensor) -> Tensor:
        """f_q of a block: [..., width] -> [..., width]."""
        return F.linear(tokens, self.weight[layer], None if self.bias is None else self.bias[layer])

    @torch.no_grad()
    def folded(self, tower: ImageTower | EvaTower) -> dict[str, Tensor]:
        """The tower's parameters with the trained query rows in the place of CLIP's, by open_clip's names.

        A program that runs mask tokens through f_q can load them into CLIP. It has to compute image tokens with
        CLIP's own query rows, which these are no longer.

        Args:
            tower: whose names and whose other rows are used.

        Returns:
            name in the tower -> parameter, of those that hold query rows.
        """
        width = tower.width
        folded: dict[str, Tensor] = {}
        for layer, block in enumerate(tower.blocks):
            rows = torch.cat([self.weight[layer], block.attn.in_proj_weight[width:]])
            of_block = {"attn.in_proj_weight": rows}
            if self.bias is not None:
                of_block["attn.in_proj_bias"] = torch.cat([self.bias[layer], block.attn.in_proj_bias[width:]])
            own = tower.own_parameters(layer, of_block)
            folded |= {name: value for name, value in own.items() if not name.endswith(".v_bias")}  # EVA's, apart
        return folded
