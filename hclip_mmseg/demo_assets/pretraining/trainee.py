"""The CLIP that is pretrained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hclip_mmseg.demo_assets.pretraining.batches import used_tokens


class Trainee(nn.Module):
    """An open_clip CLIP with an embedding of the used tokens only.

    A gradient and an optimizer state for all 49408 rows would cost more than the text tower itself.
    """

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.ids: Tensor
        self.clip = clip
        self.register_buffer("ids", used_tokens(), persistent=False)
        full = clip.token_embedding
        clip.token_embedding = nn.Embedding(len(self.ids), full.embedding_dim)
        clip.token_embedding.weight.data.copy_(full.weight.data[self.ids])
        self.vocab_size = full.num_embeddings

    def rows(self, tokens: Tensor) -> Tensor:
        """The embedding's rows of tokens of any shape; the end token is the largest number in both."""
        return torch.searchsorted(self.ids, tokens.contiguous())

    def export(self) -> dict[str, Tensor]:
        """An open_clip state dict in half precision; untrained tokens all get the trained ones' mean."""
        state = {name: value.detach().half() for name, value in self.clip.state_dict().items()}
        trained = state["token_embedding.weight"]
        full = trained.float().mean(0).half().repeat(self.vocab_size, 1)
        full[self.ids] = trained
        return {**state, "token_embedding.weight": full}
