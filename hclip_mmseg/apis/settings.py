"""Settings of a config that the command line replaces, and what was probably meant by a mistyped one."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

from mmengine import registry
from mmengine.config import Config, DictAction
from mmengine.runner import FlexibleRunner, Runner

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.near_names import did_you_mean

RUNNER_KEYS = {
    name for kind in (Runner, FlexibleRunner) for name in inspect.signature(kind).parameters if name != "cfg"
}
OPTIONAL_KEYS = RUNNER_KEYS | {
    "auto_scale_lr", "benchmark_pipeline", "benchmark_transforms", "compile", "custom_imports",
    "find_unused_parameters", "model_wrapper_cfg", "paper", "published_resize", "runner_type", "tta_model",
    "tta_pipeline",
}  # fmt: skip
"""Keys at the top of a config that mean something even where the config's file does not have them."""
UNKNOWN_TYPE = re.compile(r"(\S+) is not in the \S+::(.+?) registry")
MISSING_ARGUMENT = re.compile(r"(\w+)\.__init__\(\) missing \d+ required (?:positional|keyword-only) arguments?: (.+)")
UNKNOWN_ARGUMENT = re.compile(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")
UNLIKE = re.compile(r"meta information of the \d+-th dataset|of \w+ in the \d+-th dataset should be the same")
"""What ``ConcatDataset`` says of the key that it compares first, in an order that changes from process to process."""


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Settings of a config from texts ``KEY=VALUE``, as MMEngine reads them: numbers, lists, tuples, None, text."""
    namespace = argparse.Namespace(settings={})
    DictAction(["--cfg-options"], "settings", nargs="+")(argparse.ArgumentParser(), namespace, texts)
    return namespace.settings


def merge_settings(cfg: Config, settings: Mapping[str, Any]) -> None:
    """Replace what a config says.

    Args:
        cfg: changed in place.
        settings: key, with dots between the parts, -> value.

    Raises:
        ValueError: if a key's first part is none of a config's, a text stands for a number, or a number for settings.
        KeyError: if a setting goes into a part that the config does not have.
    """
    for key, value in settings.items():
        _check_top(cfg, key)
        _check_kind(cfg, key, value)
    cfg.merge_from_dict(dict(settings))


def explained(text: str) -> str:
    """A message of MMEngine's in one line that says what to do; others as they are.

    Those of its registries about an unknown type or argument name the nearest known one, and that of ``ConcatDataset``
    about data sets of different names what takes these.
    """
    if UNLIKE.search(text):
        return (
            "ConcatDataset joins data sets of the same class names alone; MixedDataset in its place trains on several, "
            "each sample on the names of its own data set (docs/how-to/datasets.md)"
        )
    unknown = UNKNOWN_TYPE.search(text)
    if unknown:
        word, kind = unknown.groups()
        if word in _types_of(kind):
            return f"no {kind} of this scope is called '{word}', but of another one is: is default_scope right?"
        return f"no {kind} is called '{word}'{did_you_mean(word.rpartition('.')[2], _types_of(kind))}"
    unknown = UNKNOWN_ARGUMENT.search(text)
    if unknown:
        name, argument = unknown.groups()
        known = [
            parameter.name
            for kind in _classes_called(name)
            for parameter in inspect.signature(kind).parameters.values()
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        return f"{name} has no setting '{argument}'{did_you_mean(argument, known) or _all_of(known)}"
    missing = MISSING_ARGUMENT.search(text)
    if missing:
        name, arguments = missing.groups()
        return f"{name} lacks a setting that it needs: {arguments}"
    return text


def _all_of(known: list[str]) -> str:
    """The end of a line that tells all names; empty where there are none or too many for a line."""
    return f"; it has {', '.join(known)}" if 0 < len(known) <= 20 else ""


def _check_top(cfg: Config, key: str) -> None:
    top = key.partition(".")[0]
    if top not in cfg and top not in OPTIONAL_KEYS:
        known = {*cfg.keys(), *OPTIONAL_KEYS}
        raise InputError(f"--cfg-options {key}: a config has no '{top}'{did_you_mean(top, known)}")


def _check_kind(cfg: Config, key: str, value: Any) -> None:
    before: Any = cfg
    for part in key.split("."):
        if isinstance(before, Mapping | Config) and part in before:
            before = before[part]
        elif isinstance(before, list | tuple) and part.isdigit() and int(part) < len(before):
            before = before[int(part)]
        else:
            return
    if isinstance(value, str) and isinstance(before, Number) and not isinstance(before, bool):
        raise InputError(f"--cfg-options {key}={value}: the config has a number there ({before}), '{value}' is none")
    if isinstance(value, Number) and isinstance(before, Mapping):
        part = next(iter(before), "KEY")
        raise InputError(f"--cfg-options {key}={value}: the config has settings there; set one, such as {key}.{part}")


def _types_of(kind: str) -> set[str]:
    """The names of all types in the registries of a kind, such as 'model', whatever their scope."""
    return {
        name
        for root in vars(registry).values()
        if isinstance(root, registry.Registry) and root.name == kind
        for part in (root, *root.children.values())
        for name in part.module_dict
    }


def _classes_called(name: str) -> list[Any]:
    return [
        part.module_dict[name]
        for root in vars(registry).values()
        if isinstance(root, registry.Registry)
        for part in (root, *root.children.values())
        if name in part.module_dict
    ]
