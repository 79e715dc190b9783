"""What every backbone of this project promises: CLIP's two sides."""

from __future__ import annotations

import copy
from abc import ABC
from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from hclip_mmseg.clip import ClipTokenizer, TextTower, Tokenizer, tokenizer_of
from hclip_mmseg.models.device_memory import Auto, allowance, bytes_of_number

TEXT_SHARE = 0.1
"""Part of a GPU's free memory for what the text tower keeps for the backward pass."""
KEPT_BY_A_BLOCK = 16
"""Times the width that a block of CLIP keeps a token: norms, q, k, v, mixed values, the MLP's hidden layer twice."""


class CLIPBackbone(BaseModule, ABC):
    """CLIP as a backbone: :meth:`forward` takes images, :meth:`encode_text` takes tokens.

    A subclass makes the towers. What it changes of the text side it changes in :meth:`encode_text` and
    :meth:`text_parameters` together.

    Attributes:
        image_tower: a vision transformer, an EVA or a ConvNeXt; each has ``embed_dim``, the width of the space that
            images and texts share.
        text_tower: the text encoder.
        tokenizer: what makes the tokens that it reads.
        logit_scale: logarithm of the factor that CLIP multiplies cosines with, a scalar.
        checkpoint_text: whether the text tower's blocks are computed again in the backward pass, for less memory;
            'auto': on a CPU they are, on a GPU where what they keep takes more than ``TEXT_SHARE`` of its free memory.
    """

    image_tower: Any
    text_tower: TextTower
    tokenizer: Tokenizer = ClipTokenizer()
    logit_scale: nn.Parameter
    checkpoint_text: bool | Auto = False

    @property
    def embed_dim(self) -> int:
        """Width of the embeddings of images, masks and texts."""
        width: int = self.image_tower.embed_dim
        return width

    @property
    def guidance_channels(self) -> tuple[int, ...]:
        """Channels of the maps that guide a decoder, from coarse to fine; () where there are none."""
        return ()

    def take_text(self, model: Any, name: str | Mapping[str, Any], trained: bool = False) -> None:
        """Take over the text side of a CLIP: its tower, and frozen its scale; with the tokenizer that it reads.

        Args:
            model: a CLIP of open_clip.
            name: its name, or its config as open_clip has them.
            trained: whether the tower is.
        """
        self.text_tower = TextTower(getattr(model, "text", model)).requires_grad_(trained)
        self.tokenizer = tokenizer_of(name, self.text_tower)
        self.logit_scale = nn.Parameter(model.logit_scale.detach().clone(), requires_grad=False)

    def encode_text(self, tokens: Tensor, shared: int = 0) -> Tensor:
        """Tokens [N, length] -> text embeddings [N, embed_dim], not normalised.

        The first ``shared`` tokens are the same in all texts and computed once; end tokens are not among them.
        """
        embeddings: Tensor = self.text_tower(tokens, self.checkpoints_text(tokens), shared=shared)
        return embeddings

    def checkpoints_text(self, tokens: Tensor) -> bool:
        """Whether the blocks are computed again in the backward pass for these tokens [N, length]."""
        if self.checkpoint_text != "auto":
            return self.checkpoint_text
        allowed = allowance(tokens.device, TEXT_SHARE)
        if allowed is None:
            return True
        tower = self.text_tower
        number = bytes_of_number(tokens.device, tower.positional_embedding.dtype)
        return tokens.numel() * tower.width * tower.layers * KEPT_BY_A_BLOCK * number > allowed

    def image_side(self) -> CLIPBackbone:
        """The same backbone for images alone; all weights are shared. It cannot encode texts."""
        side = copy.copy(self)
        side._modules = {name: module for name, module in self._modules.items() if name != "text_tower"}
        return side

    def text_parameters(self) -> list[nn.Parameter]:
        """All parameters that :meth:`encode_text` computes with."""
        return list(self.text_tower.parameters())
