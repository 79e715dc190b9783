"""MMSegmentation's own SAN, asked for any class names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.segmentors import MultimodalEncoderDecoder
from mmseg.models.text_encoder import CLIPTextEncoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from hclip_mmseg.adapters import Held
from hclip_mmseg.clip import ClipTokenizer, resolve_templates, tokenize
from hclip_mmseg.models.open_vocab_model import OpenVocabModel
from hclip_mmseg.vocabularies import Names, read_vocabulary


@MODELS.register_module()
class OpenVocabCLIPTextEncoder(CLIPTextEncoder):
    """``CLIPTextEncoder`` whose class names and templates can be replaced.

    A name with synonyms goes into the prompt as it stands, with its commas, as in SAN's code.

    Args:
        templates: see :func:`~hclip_mmseg.clip.resolve_templates`.
        dataset_name: None: names come by :meth:`set_vocabulary`.
        vocabulary: class names, or None until they are set.
        settings: of ``CLIPTextEncoder``.
    """

    vocabulary: tuple[str, ...]
    templates: list[str]

    def __init__(
        self,
        templates: str | Sequence[str] = "vild",
        dataset_name: None = None,
        vocabulary: Names | None = None,
        **settings: Any,
    ) -> None:
        settings = dict(settings, cache_feature=True)  # each name is encoded once
        super().__init__(vocabulary=(), templates=list(resolve_templates(templates)), **settings)
        self._embeddings: Held[dict[str, Tensor]] = Held()
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def set_vocabulary(self, names: Names, templates: str | Sequence[str] | None = None) -> None:
        """Replaces the names, and the templates where given; see ``OpenVocabModel``."""
        titles = read_vocabulary(names).titles
        resolved = tuple(self.templates) if templates is None else resolve_templates(templates)
        tokenize(titles, resolved, ClipTokenizer(self.num_pos), True)  # raises where a prompt is too long
        if resolved != tuple(self.templates):
            self._embeddings.forget()
        self.vocabulary, self.templates = titles, list(resolved)

    def set_templates(self, templates: str | Sequence[str]) -> None:
        """Replaces the templates and keeps the names."""
        if self.vocabulary:
            self.set_vocabulary(self.vocabulary, templates)
        else:
            self.templates = list(resolve_templates(templates))

    def text_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that a name's embedding is computed from."""
        return (value for name, value in self.named_parameters() if name not in ("bg_embed", "logit_scale"))

    @torch.no_grad()
    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """The texts' embeddings as MMSegmentation computes them, without the places behind the longest text.

        No token sees those behind it, and a text is read at its end token, the highest number in it.

        Args:
            text: tokens [N, places].
            normalize: whether embeddings get length 1.

        Returns:
            [N, C].
        """
        ends = text.argmax(dim=-1).to(self.token_embedding.weight.device)
        length = int(ends.max()) + 1
        tokens = self.token_embedding(text[:, :length].to(ends.device)) + self.positional_embedding[:length]
        tokens = tokens.transpose(0, 1)  # the blocks take [places, N, width]
        for block in self.transformer:
            tokens = block(query=tokens, attn_masks=self.attn_mask[:length, :length])
        read = tokens[ends, torch.arange(len(ends), device=ends.device)]
        embeddings = self.ln_final(read) @ self.text_projection
        return F.normalize(embeddings, dim=-1) if normalize else embeddings

    def forward(self) -> Tensor:
        """The embeddings of names and background [T + 1, C], scaled.

        Raises:
            ValueError: if no names were set.
        """
        if not self.vocabulary:
            raise ValueError("the model has no class names yet: set_vocabulary gives it some")
        self.cache = self._embeddings.get(self.text_parameters, dict)  # what is kept is of these weights
        return super().forward()


@MODELS.register_module()
class OpenVocabSAN(OpenVocabModel, MultimodalEncoderDecoder):
    """``MultimodalEncoderDecoder``, MMSegmentation's segmentor of SAN, as a model that is asked for names.

    What it computes is MMSegmentation's; its own checkpoints load. The model's ``text_encoder`` has to be an
    ``OpenVocabCLIPTextEncoder``.
    """

    text_encoder: Any

    @property
    def templates(self) -> tuple[str, ...]:
        """The prompt templates that every name is put into."""
        return tuple(self.text_encoder.templates)

    @property
    def smallest_side(self) -> int:
        """Images of any size are padded to the towers' patches."""
        return 1

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: Sequence[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """MMSegmentation's results, with the ``vocabulary`` that labels stand for.

        Args:
            seg_logits: scores [B, T, H, W], at least 0.
            data_samples: their meta information; where ``keep_scores`` is False, ``seg_logits`` is left out.
        """
        alone = seg_logits.shape[1] == 1
        if alone:  # MMSegmentation takes a single map for a binary mask
            seg_logits = torch.cat((seg_logits, torch.full_like(seg_logits, -1.0)), dim=1)
        samples: list[SegDataSample] = super().postprocess_result(seg_logits, data_samples)
        for sample in samples:
            if alone:
                sample.seg_logits.data = sample.seg_logits.data[:1]
            if not sample.metainfo.get("keep_scores", True):
                del sample.seg_logits
            sample.set_metainfo(dict(vocabulary=self.vocabulary))
        return samples
