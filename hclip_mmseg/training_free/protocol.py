"""How a method's published code looks at an image: its size, windows, scale of the logits and thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.vocabularies import Vocabulary, available_vocabularies, load_vocabulary
from hclip_mmseg.vocabularies.aliases import VOCABULARY_OF, canonical_name
from hclip_mmseg.vocabularies.styles import AT


@dataclass(frozen=True)
class Settings:
    """The numbers of a protocol for one benchmark.

    Attributes:
        short_side: of the image when windows are cut, in pixels, at least 1.
        long_side: at most, in pixels; where the image would be longer, it is made smaller.
        multiple: both sides of the resized image are multiples of this many pixels, rounded up.
        window: side of a window in pixels; 0 for the whole image in one pass.
        stride: pixels between the starts of windows, at most ``window``.
        pad: windows are padded with zeros, evenly on both sides, to multiples of this many pixels; 1 for no padding.
        logit_scale: factor of the cosines in the softmax over all names.
        prob_thd: pixels whose best probability is below become background, 0 to 1; only where there is one.
        area_thd: classes whose pixels are no more than this part of all pixels that are not background lose them,
            0 to 1; only where there is a background.
        straight: whether the scores of stitched tokens go to the image's own size at once, not by way of its pixels at
            the protocol's size.
    """

    short_side: int = 336
    long_side: int = 2048
    multiple: int = 1
    window: int = 224
    stride: int = 112
    pad: int = 1
    logit_scale: float = 40.0
    prob_thd: float = 0.0
    area_thd: float = 0.0
    straight: bool = False

    def __post_init__(self) -> None:
        whole = ("short_side", "long_side", "multiple", "window", "stride", "pad")
        for name in whole:
            value, least = getattr(self, name), int(name != "window")
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"protocol.{name} must be a number of pixels, at least {least}, not {value!r}")
        if 0 < self.window < self.stride:
            raise ValueError(
                f"protocol.stride {self.stride} must be at most protocol.window {self.window}: no window would see the "
                "pixels between"
            )
        for name in ("prob_thd", "area_thd"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"protocol.{name} must be from 0 to below 1, not {getattr(self, name)!r}")
        if not self.logit_scale > 0:
            raise ValueError(f"protocol.logit_scale must be above 0, not {self.logit_scale!r}")


NAMES = tuple(field.name for field in fields(Settings))
_THIRTY_SIX = dict(window=336, stride=112, pad=56)
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "sclip": dict(
        Cityscapes=dict(short_side=560),
        **{"COCO-Stuff": dict(short_side=448), "COCO-Object": dict(logit_scale=50.0, prob_thd=0.1)},
        **{"PC-60": dict(logit_scale=50.0, prob_thd=0.1)},
        VOC21=dict(logit_scale=65.0, prob_thd=0.1, area_thd=0.1),
    ),
    "naclip": dict(
        Cityscapes=dict(short_side=560),
        **{"COCO-Stuff": dict(short_side=448), "COCO-Object": dict(prob_thd=0.1), "PC-60": dict(prob_thd=0.1)},
        VOC21=dict(prob_thd=0.1),
    ),
    "resclip": dict(
        Cityscapes=dict(short_side=560),
        **{"COCO-Object": dict(prob_thd=0.1), "PC-60": dict(prob_thd=0.1), "PAS-20": dict(window=0)},
        VOC21=dict(window=0, prob_thd=0.1),
    ),
    "sc-clip": dict(
        Cityscapes=dict(short_side=560),
        **{"COCO-Object": dict(logit_scale=55.0, prob_thd=0.35), "PC-60": dict(prob_thd=0.15)},
        VOC21=dict(logit_scale=50.0, prob_thd=0.15, area_thd=0.1),
    ),
    "clearclip": dict(
        default=dict(short_side=448, window=448, stride=224, pad=16, logit_scale=50.0),
        Cityscapes=dict(window=224),
        **{"COCO-Object": dict(prob_thd=0.4), "PC-60": dict(prob_thd=0.15)},
        VOC21=dict(prob_thd=0.5),
    ),
    "proxyclip": dict(
        default=_THIRTY_SIX,
        Cityscapes=dict(short_side=448, window=224),
        **{"A-150": dict(short_side=448), "COCO-Object": dict(prob_thd=0.25), "PC-60": dict(prob_thd=0.15)},
        VOC21=dict(prob_thd=0.2),
    ),
    "trident": dict(
        default=dict(multiple=16, window=336, stride=224, pad=56, straight=True),
        Cityscapes=dict(short_side=688),
        **{"A-150": dict(short_side=576), "PC-59": dict(short_side=576), "PAS-20": dict(stride=112)},
        **{"COCO-Stuff": dict(short_side=448), "COCO-Object": dict(short_side=448, prob_thd=0.25)},
        **{"PC-60": dict(short_side=576, prob_thd=0.15), "VOC21": dict(short_side=448, prob_thd=0.2)},
    ),
    "ov-stitcher": dict(
        default=dict(_THIRTY_SIX, short_side=448),
        Cityscapes=dict(short_side=560, window=224),
        **{"COCO-Stuff": dict(stride=224), "COCO-Object": dict(prob_thd=0.2), "PC-60": dict(prob_thd=0.1)},
        VOC21=dict(prob_thd=0.1),
    ),
}
"""Protocol -> benchmark -> what differs there from :class:`Settings`, or from the protocol's own 'default'.

Of each method's repository.
"""
SAME = {"corrclip": "proxyclip"}
CLIPTRASE = "cliptrase"
"""The protocol of CLIPtrase's paper: the whole image at one resolution, CLIP's own scale, no threshold."""


def available_protocols() -> tuple[str, ...]:
    """The names that ``protocol=dict(type=...)`` takes."""
    return tuple(sorted((*PRESETS, *SAME, CLIPTRASE)))


class Protocol:
    """A method's protocol, with the benchmarks that its code has settings of their own for.

    Args:
        type: one of :func:`available_protocols`, but for 'cliptrase'.
        benchmarks: benchmark, in any spelling -> settings there, over the preset's.
        changes: :class:`Settings` for all benchmarks, over everything else.

    Raises:
        ValueError: on a protocol, benchmark or setting that is unknown, or a setting out of its range.
    """

    def __init__(self, type: str, benchmarks: Mapping[str, Mapping[str, Any]] | None = None, **changes: Any) -> None:
        name = SAME.get(type, type)
        if name not in PRESETS:
            raise ValueError(f"no protocol {type!r}; there are {', '.join(available_protocols())}")
        self.type, self.changes = type, changes
        own = dict(PRESETS[name])
        self.default = own.pop("default", {})
        self.benchmarks: dict[str, dict[str, Any]] = {canonical_name(name): dict(own[name]) for name in own}
        for benchmark, settings in (benchmarks or {}).items():
            listed = canonical_name(benchmark)
            if listed not in VOCABULARY_OF.values():
                raise ValueError(f"protocol.benchmarks: no benchmark {benchmark!r}; see --benchmarks for their names")
            self.benchmarks[listed] = {**self.benchmarks.get(listed, {}), **settings}
        for settings in (changes, *self.benchmarks.values()):
            unknown = [key for key in settings if key not in NAMES]
            if unknown:
                raise ValueError(f"protocol has no setting {unknown[0]!r}; it has {', '.join(NAMES)}")
        for name in ("", *self.benchmarks):
            self._of(name)

    def _of(self, benchmark: str) -> Settings:
        return Settings(**{**self.default, **self.benchmarks.get(benchmark, {}), **self.changes})

    def settings(self, vocabulary: Vocabulary) -> Settings:
        """The settings for what is asked for: the benchmark's where it is a benchmark's list.

        Raises:
            InputError: if they hold a threshold for background and the vocabulary has none.
        """
        settings = self._of(benchmark_of(vocabulary))
        if not has_background(vocabulary):
            named = [name for name in ("prob_thd", "area_thd") if getattr(settings, name)]
            if named:
                raise InputError(
                    f"protocol.{named[0]} turns pixels into background, and the {len(vocabulary.asked)} names have "
                    "none: put 'background' first among them, or leave it out"
                )
        return settings

    def tuned(self, benchmarks: Iterable[str]) -> tuple[str, ...]:
        """The settings that the method's authors chose for each benchmark: those that differ among some benchmarks.

        Args:
            benchmarks: names in any spelling.
        """
        all_of = [asdict(self._of(canonical_name(name))) for name in benchmarks]
        return tuple(name for name in NAMES if len({settings[name] for settings in all_of}) > 1)


def build_protocol(config: Mapping[str, Any] | None) -> Protocol | None:
    """The protocol of a config's ``protocol``; None for CLIPtrase's own, which the segmentor's arguments are.

    Raises:
        ValueError: as :class:`Protocol`; or if it is no dict, or 'cliptrase' is given settings of other protocols.
    """
    if config is None:
        return None
    if not isinstance(config, Mapping):
        raise ValueError(f"protocol is a dict, such as dict(type='sclip'), not {config!r}")
    settings = dict(config)
    if settings.get("type") != CLIPTRASE:
        return Protocol(**settings)
    if len(settings) > 1:
        strange = next(name for name in settings if name != "type")
        raise ValueError(
            f"the protocol 'cliptrase' has no setting {strange!r}: its settings are the model's own (resolution, "
            "times_cls)"
        )
    return None


def tuned_settings(model: Mapping[str, Any], benchmarks: Iterable[str]) -> tuple[str, ...]:
    """The settings of a model's config that differ between benchmarks, such as 'protocol.short_side'.

    Args:
        model: the config; its protocol's settings, and all others that are mappings from benchmarks.
        benchmarks: names in any spelling.
    """
    protocol = build_protocol(model.get("protocol"))
    own = () if protocol is None else protocol.tuned(benchmarks)
    return (*(f"protocol.{name}" for name in own), *_mappings_from_benchmarks(model, ""))


def _mappings_from_benchmarks(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        names = [canonical_name(str(key)) for key in value if key != "default"]
        if names and path != "protocol.benchmarks" and all(name in VOCABULARY_OF.values() for name in names):
            yield path
            return
        for key, entry in value.items():
            yield from _mappings_from_benchmarks(entry, f"{path}.{key}".lstrip("."))


def benchmark_of(vocabulary: Vocabulary) -> str:
    """The name of the benchmark's list that a vocabulary is, in whatever style; "" for others."""
    return vocabulary.name.partition(AT)[0]


def has_background(vocabulary: Vocabulary) -> bool:
    """Whether the first class is background: by the benchmark's own list, or by what the first class is called."""
    benchmark = benchmark_of(vocabulary)
    first = load_vocabulary(benchmark).classes[0] if benchmark else (vocabulary.categories or vocabulary.names)[0]
    return first.casefold() == "background"


def class_of_each_name(vocabulary: Vocabulary) -> tuple[int, ...]:
    """For every name that is asked for the index of its class; background is 0 where there is one."""
    return vocabulary.folds or tuple(range(len(vocabulary)))


@lru_cache(maxsize=1)
def _asked_by_benchmarks() -> dict[tuple[str, ...], Vocabulary]:
    found: dict[tuple[str, ...], Vocabulary] = {}
    for name in available_vocabularies():
        vocabulary = load_vocabulary(name)
        found.setdefault(vocabulary.asked, vocabulary)
    return found


def recognised(names: tuple[str, ...]) -> Vocabulary:
    """The benchmark's vocabulary that asks for these names, with its classes; else one of the names themselves."""
    return _asked_by_benchmarks().get(names) or Vocabulary(names)
