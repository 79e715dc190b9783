"""From mask embeddings to scores of classes: synonyms, and a class for masks of nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.vocabularies import Names, Vocabulary, read_vocabulary


class SynonymTable:
    """The words of a vocabulary, each once, and which of them belong to which name.

    Args:
        names: class names in label order; see :func:`~hclip_mmseg.vocabularies.read_vocabulary`.

    Attributes:
        names: the classes' titles.
        words: all synonyms of all names, each once.

    Raises:
        ValueError: if names are no vocabulary.
    """

    def __init__(self, names: Names) -> None:
        vocabulary = names if isinstance(names, Vocabulary) else read_vocabulary(names, repeats=True)
        self.names = vocabulary.titles
        groups = [list(dict.fromkeys(synonyms)) for synonyms in vocabulary.synonyms]
        self.words = tuple(dict.fromkeys(word for group in groups for word in group))
        places = {word: place for place, word in enumerate(self.words)}
        most = max(map(len, groups), default=0)
        # rows are filled up with their first word, which leaves the maximum as it is
        padded = [[places[word] for word in group + group[:1] * (most - len(group))] for group in groups]
        self._places = torch.tensor(padded, dtype=torch.long)

    def best(self, scores: Tensor) -> Tensor:
        """Scores of words [..., W] -> scores of names [..., T], each its best synonym's."""
        return scores[..., self._places.to(scores.device)].amax(dim=-1)


def class_logits(embeddings: Tensor, columns: Tensor, synonyms: SynonymTable, logit_scale: Tensor) -> Tensor:
    """Class logits of masks (the classification of FISA and of MAFT+).

    clamp(exp(s), 100) times the cosine of mask and class embeddings, the largest of a name's synonyms.

    Args:
        embeddings: of masks, [B, Q, C].
        columns: class embeddings of the table's words and, last, of void: [W + 1, C], or [B, W + 1, C] where each
            image has its own.
        synonyms: which word belongs to which name.
        logit_scale: s, the logarithm of an inverse temperature.

    Returns:
        [B, Q, T + 1], void last.
    """
    with torch.autocast(embeddings.device.type, enabled=False):  # bf16 would round logits near 50 to quarters
        columns = F.normalize(columns.float(), dim=-1)
        cosines = F.normalize(embeddings.float(), dim=-1) @ columns.transpose(-2, -1)
        logits = logit_scale.float().exp().clamp(max=100) * cosines
        return torch.cat([synonyms.best(logits[..., :-1]), logits[..., -1:]], dim=-1)


class MaskClasses(nn.Module):
    """Class logits of masks, last those of a trained embedding that stands for masks of nothing.

    Args:
        channels: width of the embeddings.

    Attributes:
        void: [1, channels], of norm about 1 at the start.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.void = nn.Parameter(torch.randn(1, channels) / channels**0.5)

    def forward(self, embeddings: Tensor, words: Tensor, synonyms: SynonymTable, logit_scale: Tensor) -> Tensor:
        """Logits of masks.

        Args:
            embeddings: [B, Q, C].
            words: text embeddings of the table's words, [W, C].
            synonyms: which word belongs to which name.
            logit_scale: see :func:`class_logits`.

        Returns:
            [B, Q, T + 1], void last.
        """
        return class_logits(embeddings, torch.cat([words.float(), self.void.float()]), synonyms, logit_scale)


def class_scores(logits: Tensor, void: Tensor | None = None) -> Tensor:
    """Probabilities of names and of void: softmax over the names times (1 - void), then void.

    Args:
        logits: [..., T + 1], void last; see :class:`MaskClasses`.
        void: probability that a mask is of nothing, [...], where a proposal head tells it. None takes it from the
            softmax over names and void, which gives that softmax itself.

    Returns:
        [..., T + 1], void last; sums to 1.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        if void is None:
            return logits.softmax(dim=-1)
        void = void.float().unsqueeze(-1)
        return torch.cat([logits[..., :-1].softmax(dim=-1) * (1 - void), void], dim=-1)
