"""The vocabulary and its text embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.adapters import Held
from hclip_mmseg.adapters.held import is_tracing
from hclip_mmseg.adapters.precision import autocast_dtype
from hclip_mmseg.clip import ClipTokenizer, Tokenizer, resolve_templates, tokenize
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.models import device_memory
from hclip_mmseg.models.necks.class_prompts import class_prompt_tokens, read_class_prompts
from hclip_mmseg.models.necks.text_batches import SMALLEST, SMALLEST_ON_GPU, Prompts, TextBatches
from hclip_mmseg.models.necks.text_cache import FORM, LEAST_TEXTS, TextCache, digest_of, plain
from hclip_mmseg.vocabularies import Names, Vocabulary, read_vocabulary

PROMPTS = ("first", "whole")
ALIKE = 2e-3
"""How far numbers of unit embeddings may differ that the same weights and texts give, in bfloat16 too. Embeddings from
disk are used if those of the first name are as near as that: what beside weights decides them, such as the activation
between them, is in no key."""


@MODELS.register_module()
class TextEncoderNeck(BaseModule):
    """Owns what the model is asked for: names, templates, tokens and the cache of embeddings.

    It has no weights: whoever calls it hands it the text tower. Where gradients are wanted the names are
    encoded at every call; else the embeddings are kept until names, templates or weights change.

    Args:
        vocabulary: class names, or None until :meth:`set_vocabulary`.
        templates: see :func:`~hclip_mmseg.clip.resolve_templates`.
        average: whether the templates of a name become one embedding (each normalised, averaged,
            normalised: P = 1), or stand apart in the cost volume.
        prompt: what of a name with synonyms goes into the prompt: 'first', the first of them, unless the vocabulary
            says otherwise; 'whole', all of it with its commas, as in CLIPtrase's and SAN's code.
        chunk: how many texts are encoded at once without gradients.
        context_length: positions of the text tower, as long as no tokenizer was given (:meth:`read_with`).
        cache: whether embeddings of many texts are kept on disk, see :class:`~.text_cache.TextCache`; or the folder.
            Weights that change within a process, as in training, are not followed.
        class_prompts: sentences of their own for some names, which count as further templates of theirs; a mapping or
            the path of a JSON file, see :func:`~.class_prompts.read_class_prompts`. Only with ``average``.

    Attributes:
        stuff: those of the names that the vocabulary says are not counted one by one; None where it says nothing.

    Raises:
        ValueError: for another ``prompt``, or a vocabulary or templates that are none.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | Sequence[str] | None = None,
        templates: str | Sequence[str] = "scene",
        average: bool = True,
        prompt: str = "first",
        chunk: int = 256,
        context_length: int = 77,
        cache: bool | str = True,
        class_prompts: str | Mapping[str, Sequence[str]] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.templates = resolve_templates(templates)
        self.average = average
        if prompt not in PROMPTS:
            raise ValueError(f"text_encoder.prompt must be one of {', '.join(PROMPTS)}, not {prompt!r}")
        self.prompt = prompt
        self.chunk = chunk
        self.tokenizer: Tokenizer = ClipTokenizer(context_length)
        self.cache = cache
        self.class_prompts = read_class_prompts(class_prompts)
        if self.class_prompts and not average:
            raise ValueError("text_encoder.class_prompts are averaged with the templates: set average=True")
        self._apart: int | None = None
        self._vocabulary: tuple[str, ...] = ()
        self._whole = False
        self.stuff: tuple[str, ...] | None = None
        self._prompts: Prompts | None = None
        self._batches: dict[int, TextBatches] = {}
        self._own: tuple[Prompts, Tensor] | None = None
        self._weights: Held[str] = Held()
        self._first_weights: str | None = None
        self._embeddings: Held[Tensor] = Held()
        self._taken_over: Held[dict[tuple[Any, ...], Tensor]] = Held()
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names that the model is asked for, in label order; () before any were set."""
        return self._vocabulary

    @property
    def complete(self) -> bool:
        """Whether a name goes into the prompt with its commas, and not its first synonym alone."""
        return self._whole

    def read_with(self, tokenizer: Tokenizer) -> None:
        """Use the tokenizer of the model's text tower; names that are set stay.

        Raises:
            ValueError: if a name is too long for it, or the tokenizer cannot be had.
        """
        alike = type(tokenizer) is type(self.tokenizer) and vars(tokenizer) == vars(self.tokenizer)
        if self._vocabulary and not alike:
            self._use(self._vocabulary, self._whole, self.templates, tokenizer)
        self.tokenizer = tokenizer
        self.forget()

    def take_over(
        self,
        names: Sequence[str],
        complete: bool,
        templates: Sequence[str],
        embeddings: Tensor,
        parameters: Iterable[nn.Parameter],
    ) -> None:
        """Use embeddings that were computed before, as long as the weights stay; names without are still encoded.

        Args:
            names: that were encoded.
            complete: whether they went into the prompt with their commas.
            templates: that they were put into.
            embeddings: [T, P, C], as :meth:`forward` gives them.
            parameters: all that they were computed with.
        """
        known = {(name, complete, tuple(templates)): row for name, row in zip(names, embeddings, strict=True)}
        kept = list(parameters)
        self.forget()
        self._taken_over.get(lambda: kept, lambda: known)

    def set_vocabulary(self, names: Names, templates: str | Sequence[str] | None = None) -> None:
        """Replaces the names, and the templates where given.

        Args:
            names: see :func:`~hclip_mmseg.vocabularies.read_vocabulary`; of a name's synonyms the first is used, or all
                as they stand, see ``prompt`` and ``Vocabulary.whole``.
            templates: None keeps the present ones.

        Raises:
            ValueError: if names are empty, doubled or too long for the text tower; nothing changes then.
        """
        vocabulary = read_vocabulary(names)
        titles, whole = vocabulary.titles, vocabulary.whole or self.prompt == "whole"
        resolved = self.templates if templates is None else resolve_templates(templates)
        if (titles, whole, resolved) == (self._vocabulary, self._whole, self.templates):
            self.stuff = vocabulary.stuff
            return
        self._use(titles, whole, resolved, self.tokenizer)
        self.stuff = vocabulary.stuff
        self._embeddings.forget()

    def _use(self, titles: tuple[str, ...], whole: bool, templates: tuple[str, ...], tokenizer: Tokenizer) -> None:
        """Take over names, templates and tokenizer, all or none of them."""
        self._check_number(templates)
        prompts = Prompts.of(tokenize(titles, templates, tokenizer, whole), tokenizer)
        own = None
        if self.class_prompts:
            sentences, owners = class_prompt_tokens(self.class_prompts, titles, tokenizer)
            own = Prompts.of(sentences, tokenizer), owners
        self._prompts, self._own, self._batches = prompts, own, {}
        self._vocabulary, self._whole, self.templates, self.tokenizer = titles, whole, templates, tokenizer

    def set_templates(self, templates: str | Sequence[str]) -> None:
        """Replaces the templates and keeps the names.

        Raises:
            ValueError: if a template is none, or with a name too long for the text tower; nothing changes then.
        """
        if self._vocabulary:
            self.set_vocabulary(Vocabulary(self._vocabulary, whole=self._whole, repeats=True), templates)
        else:
            resolved = resolve_templates(templates)
            self._check_number(resolved)
            self.templates = resolved

    def keep_apart(self) -> int:
        """How many embeddings a name has, one for each template that stands apart; from now on always as many."""
        self._apart = None if self.average else len(self.templates)
        return self._apart or 1

    def _check_number(self, templates: Sequence[str]) -> None:
        if self._apart is not None and len(templates) != self._apart:
            raise InputError(
                f"this model compares with each of {self._apart} templates by itself, and {len(templates)} are given: "
                "give as many, or leave them out"
            )

    def check_averages(self, owner: str) -> None:
        """Check that a name has one embedding, whatever its templates.

        Args:
            owner: the model that compares with one embedding a name.

        Raises:
            ValueError: if ``average`` is False.
        """
        if not self.average:
            raise ValueError(
                f"{owner} compares with one embedding a name, so text_encoder.average=False would leave all templates "
                "but the first out; set text_encoder.average=True, which takes their mean"
            )

    def settle(self) -> None:
        """Hold the embeddings without comparing parameters, until :meth:`forget`."""
        self._embeddings.settle()

    def forget(self) -> None:
        """Drop the embeddings; they are computed again when next needed."""
        self._embeddings.forget()
        self._taken_over.forget()
        self._weights.forget()

    def forward(
        self,
        encode_text: Callable[..., Tensor],
        parameters: Iterable[nn.Parameter],
        subset: Tensor | None = None,
    ) -> Tensor:
        """Embeddings of the vocabulary.

        Args:
            encode_text: (tokens [N, length], shared=how many of them all texts begin with alike) -> embeddings
                [N, C].
            parameters: all that ``encode_text`` computes with; where one changes, the cache is dropped.
            subset: indices of the only names that are wanted, or None for all.

        Returns:
            Unit-norm embeddings [T, P, C]; P = 1 where templates are averaged.

        Raises:
            ValueError: if no vocabulary was set.
        """
        if self._prompts is None:
            raise ValueError(
                "the model was given no vocabulary: call model.set_vocabulary(['cat', 'grass', ...]), or set "
                "text_encoder=dict(vocabulary=[...]) in the config"
            )
        parameters = list(parameters)
        if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters):
            return self._encode_with_own(encode_text, subset, parameters[0].device)
        device = parameters[0].device
        embeddings = self._embeddings.get(lambda: parameters, lambda: self._encode_all(encode_text, parameters, device))
        return embeddings if subset is None else embeddings[subset]

    @torch.inference_mode(False)
    @torch.no_grad()
    def _encode_all(
        self, encode_text: Callable[..., Tensor], parameters: list[nn.Parameter], device: torch.device
    ) -> Tensor:
        known = self._taken_over.value and self._taken_over.get(lambda: parameters, dict)
        if not known:
            return self._encode_or_read(encode_text, parameters, device)
        rows = [known.get((name, self._whole, self.templates)) for name in self._vocabulary]
        missing = [place for place, row in enumerate(rows) if row is None]
        if missing:
            encoded = self._encode_with_own(encode_text, torch.tensor(missing), device)
            for place, row in zip(missing, encoded, strict=True):
                rows[place] = row
        return torch.stack([row for row in rows if row is not None])

    def _encode_or_read(
        self, encode_text: Callable[..., Tensor], parameters: list[nn.Parameter], device: torch.device
    ) -> Tensor:
        """Embeddings of all names, from disk where they are kept there."""
        key = self._cache_key(parameters, device)
        if key is None:
            return self._encode_with_own(encode_text, None, device)
        cache = TextCache(self.cache if isinstance(self.cache, str) else None)
        assert self._prompts is not None
        names, templates = self._prompts.tokens.shape[:2]
        found = cache.read(key, (names, 1 if self.average else templates))
        if found is not None:
            found = found.to(device)
            first = self._encode_with_own(encode_text, torch.tensor([0]), device)
            if found.shape[-1:] == first.shape[-1:] and torch.allclose(found[:1], first, rtol=0, atol=ALIKE):
                return found
        embeddings = self._encode_with_own(encode_text, None, device)
        cache.write(key, embeddings)
        return embeddings

    def _cache_key(self, parameters: list[nn.Parameter], device: torch.device) -> str | None:
        """What tells embeddings of all names apart from any others; None where they are not to be kept on disk."""
        assert self._prompts is not None
        in_graph = torch.compiler.is_compiling() or is_tracing()
        texts = self._prompts.tokens.shape[0] * self._prompts.tokens.shape[1]
        if not self.cache or in_graph or texts < LEAST_TEXTS or not plain(parameters):
            return None
        weights = self._weights.get(lambda: parameters, lambda: digest_of(parameters))
        self._first_weights = self._first_weights or weights
        if weights != self._first_weights:
            return None
        asked = [torch.from_numpy(self._prompts.tokens)]
        if self._own is not None:
            asked += [torch.from_numpy(self._own[0].tokens), self._own[1]]
        return digest_of(asked, FORM, weights, self.average, device.type, autocast_dtype(device))

    def _encode_with_own(
        self, encode_text: Callable[..., Tensor], subset: Tensor | None, device: torch.device
    ) -> Tensor:
        """Embeddings of the names in ``subset``, or of all, with their own sentences where they have any."""
        batches = self._batches_of(subset, device)
        if self._own is None:
            return self._averaged(self._encode(encode_text, batches))
        sentences, owners = self._own
        if subset is not None:
            place = torch.full((len(self._vocabulary),), -1)
            place[subset.cpu()] = torch.arange(len(subset))
            wanted = place[owners] >= 0
            sentences, owners = sentences.some(wanted.numpy()), place[owners][wanted]
        total = self._encode(encode_text, batches).sum(dim=1)
        if len(sentences.tokens):
            own = self._encode(encode_text, TextBatches.of(sentences, self.chunk).to(device))
            total = total.index_add(0, owners.to(device), own[:, 0])
        return F.normalize(total[:, None], dim=-1)

    def _averaged(self, embeddings: Tensor) -> Tensor:
        if self.average and embeddings.shape[1] > 1:
            embeddings = F.normalize(embeddings.mean(dim=1, keepdim=True), dim=-1)
        return embeddings

    def _batches_of(self, subset: Tensor | None, device: torch.device) -> TextBatches:
        """Batches of the names in ``subset``, or of all, which are cut once for CPUs or for GPUs."""
        smallest = SMALLEST_ON_GPU if device_memory.has_memory_of_its_own(device) else SMALLEST
        if subset is not None:
            return self._cut(smallest, subset).to(device)
        if smallest not in self._batches:
            self._batches[smallest] = self._cut(smallest)
        self._batches[smallest] = self._batches[smallest].to(device)
        return self._batches[smallest]

    @torch.compiler.disable  # how texts fall into batches is no part of a graph
    def _cut(self, smallest: int, subset: Tensor | None = None) -> TextBatches:
        assert self._prompts is not None
        prompts = self._prompts if subset is None else self._prompts.some(subset.cpu().numpy())
        return TextBatches.of(prompts, self.chunk, smallest)

    def _encode(self, encode_text: Callable[..., Tensor], batches: TextBatches) -> Tensor:
        """Unit embeddings [names, templates, C]."""
        parts = [
            encode_text(tokens, shared=shared).float()
            for tokens, shared in zip(batches.tokens, batches.shared, strict=True)
        ]
        embeddings = F.normalize(torch.cat(parts)[batches.places], dim=-1)
        return embeddings.view(batches.names, batches.templates, -1)
