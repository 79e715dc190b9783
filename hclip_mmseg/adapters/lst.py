"""LST: a small network beside each tower, fed by its blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hclip_mmseg.adapters.base import Adapter, Tower, tower_sizes

TEMPERATURE = 0.1
"""T of the gates (LST, Section 3.2)."""

Form = Literal["added", "in_place"]
"""What becomes of a side network's result; see :class:`LST`."""


class SideNetwork(nn.Module):
    """s_1 = f_1(d_1(h_1)), s_i = f_i(m_i d_i(h_i) + (1 - m_i) s_{i-1}); the result is up(s_L).

    h_i is the frozen tower's i-th block's output, d_i a linear layer down to the side width, f_i a
    transformer block of that width, and m_i = sigmoid(a_i / T) a gate that starts at 1/2.

    Args:
        layers: L.
        width: of the tower.
        side_width: of the side network.
        head_width: of its attention; divides the side width.
        causal: whether a position sees only itself and those before it.
        normed: whether a layer norm stands between s_L and up, which then starts at random; else up starts at 0.
    """

    def __init__(
        self, layers: int, width: int, side_width: int, head_width: int, causal: bool, normed: bool = False
    ) -> None:
        super().__init__()
        self.causal = causal
        self.downs = nn.ModuleList(nn.Linear(width, side_width) for _ in range(layers))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                side_width,
                side_width // head_width,
                dim_feedforward=4 * side_width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(layers)
        )
        self.gates = nn.Parameter(torch.zeros(layers - 1))
        self.norm = nn.LayerNorm(side_width) if normed else nn.Identity()
        self.up = nn.Linear(side_width, width)
        if not normed:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Outputs of the tower's blocks, each [batch, length, width] -> [batch, length, width]."""
        mask = None
        if self.causal:
            length = states[0].shape[1]
            mask = torch.ones(length, length, dtype=torch.bool, device=states[0].device).triu(1)
        shares = torch.sigmoid(self.gates / TEMPERATURE)
        x: Tensor = self.downs[0](states[0])
        x = self.blocks[0](x, src_mask=mask, is_causal=self.causal)
        for share, state, down, block in zip(shares, states[1:], self.downs[1:], self.blocks[1:], strict=True):
            x = block(share * down(state) + (1 - share) * x, src_mask=mask, is_causal=self.causal)
        raised: Tensor = self.up(self.norm(x))
        return raised


class LST(Adapter):
    """A side network beside each tower, fed by its blocks (Sung et al., "LST: Ladder Side-Tuning", 2022, Section 3).

    Two forms of what becomes of its result:

    - 'added', this project's: it is added to the tokens behind the last block. The layer back up starts at 0, so
      training starts as plain CLIP.
    - 'in_place', the published method's: behind a layer norm of its own it stands in the place of these tokens, and
      the layer back up starts at random. Nothing of the last block's output passes but through the side network, so
      training does not start as plain CLIP.

    Its inputs are cut from the graph: no gradient of it runs through the tower, which is the method's saving
    (leave the positional embeddings frozen, or they ask for one). It reads the
    last block in whatever form the tower runs it. In both forms the side blocks start at random and not, as published,
    as pruned copies of the backbone's. It is no change of weights and stays in inference.

    The H-CLIP paper prints 19.8 M and no widths. Those of the default give 20,791,318 numbers in ViT-B/16, 19.8
    Mi: a third of the image tower's width, and the multiple of 32 in the text tower that meets the figure.

    Args:
        image_side: width of the side network of the image tower.
        text_side: width of that of the text tower.
        head_width: width of a head in both; divides them.
        form: 'added' or 'in_place', see above.
        sizes: see :func:`~hclip_mmseg.adapters.base.tower_sizes`.

    Attributes:
        networks: tower -> :class:`SideNetwork`.

    Raises:
        ValueError: if the head width does not divide a side width, or on another form.
    """

    foldable = False
    has_strength = True
    takes_rounded = True

    def __init__(
        self, *, image_side: int = 256, text_side: int = 224, head_width: int = 32, form: Form = "added", **sizes: Any
    ) -> None:
        super().__init__()
        if form not in ("added", "in_place"):
            raise ValueError(f"LST's form must be 'added' or 'in_place', not {form!r}")
        self.form = form
        widths: Mapping[Tower, int] = {"image": image_side, "text": text_side}
        for tower, width in widths.items():
            if head_width < 1 or width < 1 or width % head_width:
                raise ValueError(f"head_width {head_width} does not divide {tower}_side, which is {width}")
        self.networks = nn.ModuleDict(
            {
                tower: SideNetwork(
                    size.layers, size.width, widths[tower], head_width, tower == "text", normed=form == "in_place"
                )
                for tower, size in tower_sizes(**sizes).items()
            }
        )

    def side(self, tower: Tower, states: Sequence[Tensor]) -> Tensor:
        """See :class:`~hclip_mmseg.adapters.base.Adapter`."""
        if tower not in self.networks:
            return states[-1]
        raised: Tensor = self.networks[tower]([state.detach() for state in states])
        return self.part(states[-1], raised if self.form == "in_place" else states[-1] + raised)
