"""Models of MMDetection's registry, asked for where another registry is looked into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mmengine.registry import MODELS

Kind = TypeVar("Kind", bound=type)


def needs_scope(scope: str) -> Callable[[Kind], Kind]:
    """Make a model that is registered in ``scope`` say so where it is built in another.

    MMEngine looks into its own registry last. There the model's name stands for a function that names the scope.
    """

    def register(kind: Kind) -> Kind:
        def refuse(**_: Any) -> None:
            raise ValueError(
                f"{kind.__name__} and its parts are registered for {scope}: before MODELS.build(cfg.model) call "
                f"mmengine.registry.init_default_scope(cfg.default_scope), which is {scope!r} in its configs; "
                f"inferencers take scope={scope!r}"
            )

        MODELS.register_module(name=kind.__name__, module=refuse, force=True)
        return kind

    return register
