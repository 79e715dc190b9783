"""A penalty that holds text embeddings of names that are not trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hclip_mmseg.models.clip_backbone import CLIPBackbone
from hclip_mmseg.models.necks.text_encoder_neck import TextEncoderNeck
from hclip_mmseg.vocabularies import read_vocabulary
from hclip_mmseg.vocabularies.vocabulary import read_by_clip


class HeldNamesLoss(nn.Module):
    """Weight times the mean of 1 - cos between embeddings of names and what CLIP's text tower alone makes of them.

    No paper's: a device of this project. Each step draws some names of the lists that are not in the model's
    vocabulary. It costs one more run of the text tower with gradients over as many names.

    Args:
        backbone: of the model; its text tower without adapter is what the embeddings are held to.
        templates: prompts of the model.
        names: what :func:`~hclip_mmseg.vocabularies.read_vocabulary` reads, each: lists of benchmarks, files or texts.
        count: names a step.
        weight: of the loss.

    Raises:
        ValueError: if numbers are not positive, or the text tower itself is trained, so that it holds nothing.
    """

    def __init__(
        self,
        backbone: CLIPBackbone,
        templates: Sequence[str],
        names: Sequence[str] = ("ade20k_847", "pascal_context_459"),
        count: int = 32,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        if count < 1 or weight <= 0:
            raise ValueError(f"hold takes a count of at least 1 and a weight above 0, not {count} and {weight}")
        trained = [name for name, parameter in backbone.text_tower.named_parameters() if parameter.requires_grad]
        if trained:
            raise ValueError(
                f"hold keeps embeddings where the frozen text tower has them, and its {trained[0]} is trained: set "
                "model.backbone.train_positions=False"
            )
        self.names = first_names(names)
        self.count, self.weight = count, weight
        self.neck = TextEncoderNeck(self.names, templates=tuple(templates))
        self.neck.read_with(backbone.tokenizer)

    def draw(self, vocabulary: Sequence[str]) -> Tensor:
        """Indices of the names of a step, by torch's generator: none of the vocabulary's, each at most once."""
        trained = {read_by_clip(name.strip()) for title in vocabulary for name in title.split(",")}
        free = torch.tensor([place for place, name in enumerate(self.names) if read_by_clip(name) not in trained])
        return free[torch.randperm(len(free))[: self.count]]

    def forward(self, backbone: CLIPBackbone, vocabulary: Sequence[str]) -> Tensor:
        """The penalty, a scalar; 0 without gradient where all names are the vocabulary's.

        Args:
            backbone: of the model.
            vocabulary: its present names.
        """
        drawn = self.draw(vocabulary)
        if not len(drawn):
            return next(backbone.parameters()).new_zeros(())
        with torch.no_grad():
            frozen = self.neck(backbone.text_tower, backbone.text_tower.parameters(), drawn)
        adapted = self.neck(backbone.encode_text, backbone.text_parameters(), drawn)
        return self.weight * (1 - (adapted * frozen).sum(dim=-1)).mean()


def first_names(sources: Sequence[str]) -> tuple[str, ...]:
    """The first names of all classes of several lists, each once.

    Args:
        sources: what :func:`~hclip_mmseg.vocabularies.read_vocabulary` reads.
    """
    found: dict[str, str] = {}
    for source in [sources] if isinstance(sources, str) else sources:
        for name in read_vocabulary(source).names:
            found.setdefault(read_by_clip(name), name)
    return tuple(found.values())
