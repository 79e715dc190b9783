"""What a kind of published checkpoint is recognised by, and what its parameters are called here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

State = dict[str, Tensor]
Rule = tuple[str, str]
"""(our prefix, published prefix) of parameters; each ``*`` stands for a number, the same in both."""


@dataclass(frozen=True)
class Kind:
    """A kind of published checkpoint. One that does more than renaming is a subclass with the methods of that work.

    Attributes:
        name: of the kind, such as 'cat-seg'.
        rules: the names of all parameters; of two rules that apply the one with the longer prefix counts.
        published: patterns; a published state dict is of this kind if each is found in a parameter's name.
        ours: pattern that is found in a parameter's name of our state dicts of this kind; None: these are always noted
            as such.
        aside: pattern of published entries that the model does not compute with.
        keeps_aside: whether these are given back in the published form.
        bare: whether the published form is a bare state dict, not ``{"model": state}``.
        vocabulary: name of the list that was trained with; None for a model without a head.
        advice: our prefix -> what to do with parameters that were never published.
    """

    name: str
    rules: tuple[Rule, ...]
    published: tuple[str, ...]
    ours: str | None
    aside: str
    keeps_aside: bool = True
    bare: bool = False
    vocabulary: str | None = "coco_stuff_171"
    advice: Mapping[str, str] = field(default_factory=dict)

    def is_published(self, names: Iterable[str]) -> bool:
        """Whether parameters of these names are a published checkpoint of this kind."""
        names = list(names)
        return all(any(re.search(pattern, name) for name in names) for pattern in self.published)

    def is_ours(self, names: Iterable[str]) -> bool:
        """Whether parameters of these names are a model of this project that was published as this kind."""
        return self.ours is not None and any(re.search(self.ours, name) for name in names)

    def to_ours(self, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """A published state dict as a checkpoint of this project; see :func:`~.published.to_ours`.

        Raises:
            ValueError: on parameters of unknown name, or values that contradict each other.
        """
        aside = {name: value for name, value in state.items() if re.search(self.aside, name)}
        gathered = self.gather({name: value for name, value in state.items() if name not in aside})
        note = self.note(gathered, aside)
        ours, unknown = renamed(gathered, [(theirs, own) for own, theirs in self.rules_with(note)])
        if unknown:
            raise ValueError(
                f"{len(unknown)} parameters of the {self.name} checkpoint have names that no published checkpoint has: "
                + ", ".join(unknown[:5])
            )
        extras = aside if self.keeps_aside else {}
        published = dict(kind=self.name, extras=extras, names=list(state), vocabulary=self.vocabulary) | note
        state_dict = {name: value.float() for name, value in ours.items()}
        return {"meta": dict(published=published), "state_dict": state_dict}

    def to_published(self, ours: Mapping[str, Tensor], note: Mapping[str, Any], config: str = "") -> dict[str, Any]:
        """Our state dict under the published names; see :func:`~.published.to_published`.

        Args:
            ours: the state dict.
            note: what :meth:`to_ours` noted under ``published``; may be empty.
            config: text of the config that trained it; may be empty.

        Raises:
            ValueError: on parameters that the published models do not have or would read otherwise.
        """
        self.check(ours, config)
        state, unknown = renamed(ours, self.rules_with(note))
        if unknown:
            advice = [text for prefix, text in self.advice.items() if unknown[0].startswith(prefix)]
            raise ValueError("; ".join([f"{unknown[0]} has no counterpart in the published models", *advice]))
        state = self.spread(state) | dict(note.get("extras", {}))
        order = {name: place for place, name in enumerate(note.get("names", ()))}
        state = dict(sorted(state.items(), key=lambda item: order.get(item[0], len(order))))
        return state if self.bare else {"model": state}

    # ---- what subclasses do beside renaming

    def gather(self, state: State) -> State:
        """Published weights in the form that the rules rename: one entry for what this project holds as one."""
        return state

    def spread(self, state: State) -> State:
        """The reverse of :meth:`gather`."""
        return state

    def note(self, state: Mapping[str, Tensor], aside: Mapping[str, Tensor]) -> dict[str, Any]:
        """What to note of a published checkpoint, so that it can be given back as it was."""
        return {}

    def rules_with(self, note: Mapping[str, Any]) -> tuple[Rule, ...]:
        """The rules for a checkpoint of which this was noted."""
        return self.rules

    def check(self, ours: Mapping[str, Tensor], config: str) -> None:
        """Refuse models that were never published in this form.

        Raises:
            ValueError: which parameters or settings are others.
        """


def renamed(state: Mapping[str, Tensor], pairs: Iterable[tuple[str, str]]) -> tuple[State, list[str]]:
    """A state dict under other names.

    Args:
        state: the state dict.
        pairs: (prefix, the prefix that takes its place); each ``*`` stands for a number. Of several that apply, the
            longest counts. A prefix ends where the name does, or at a dot.

    Returns:
        The renamed entries, and the names that no prefix applies to.
    """
    patterns = [
        (re.compile(re.escape(source).replace(r"\*", r"(\d+)") + r"(?=\.|$)"), target)
        for source, target in sorted(pairs, key=lambda pair: len(pair[0]), reverse=True)
    ]
    found, unknown = {}, []
    for name, value in state.items():
        match, target = next(((match, to) for pattern, to in patterns if (match := pattern.match(name))), (None, ""))
        if match is None:
            unknown.append(name)
            continue
        for number in match.groups():
            target = target.replace("*", number, 1)
        found[target + name[match.end() :]] = value
    return found, unknown
