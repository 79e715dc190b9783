"""Parameters that a config trains, by part, beside the number that its paper prints."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.registry import MODELS
from rich.console import Console
from torch import nn

from hclip_mmseg.adapters import POP
from hclip_mmseg.adapters.base import Numbers
from hclip_mmseg.apis import checks, launch
from hclip_mmseg.compat import meta_device
from hclip_mmseg.costs.printed import number_table

MI = 2**20
ADAPTERS = ("adapters, image tower", "adapters, text tower", "relations")
"""The parts that the papers count."""
APART = ("decoder", "detector", "positional embeddings")
"""Trained parts that are not in a paper's number."""
MASK_CLASSIFIERS = {
    "backbone.mask_tokens.seve.": "SEVE",
    "backbone.mask_tokens.queries.": "query projections (SIMO)",
    "backbone.mask_tokens.adapter.": "adapters, image tower",
    "backbone.mask_tokens.tower.": "image tower",
    "backbone.distribution_adapter.": "Distribution Adapter",
    "classes.void": "void embedding",
    "generator.": "mask generator",
}
"""Beginnings of names in models that classify mask proposals, and the parts that they belong to."""


@runtime_checkable
class NamesDeadParameters(Protocol):
    """A backbone that knows which of its adapter's numbers change nothing."""

    def dead_parameters(self) -> list[Numbers]:
        """Those numbers, each once."""


def part_of(name: str) -> str:
    """The part of the model that a parameter belongs to, by its name."""
    for beginning, part in MASK_CLASSIFIERS.items():
        if name.startswith(beginning):
            return part
    first, *inner = name.split(".")
    if first == "decode_head" or name.startswith("backbone.guidance_upsamples."):
        return "decoder"
    if first in ("neck", "rpn_head", "roi_head"):
        return "detector"
    if "positional_embedding" in inner:
        return "positional embeddings"
    if first == "backbone" and inner[0] == "adapter":
        if "relation" in inner:
            return "relations"
        towers = [tower for tower in ("image", "text") if tower in inner]
        return f"adapters, {towers[0]} tower" if towers else "adapters"
    for tower in ("image", "text"):
        if f"{tower}_tower" in inner:
            return f"{tower} tower"
    return first


def tower_entries(pop: POP, widths: Mapping[str, int], depths: Mapping[str, int]) -> dict[str, int]:
    """Numbers in T that belong to each tower: 4 projections a layer, q width of them each."""
    return {tower: 4 * depths[tower] * pop.block_size * widths[tower] for tower in pop.towers}


def build_on_meta(cfg: Config) -> nn.Module:
    """The model of a config without memory for its numbers; CLIP's weights need not be there.

    Raises:
        FileNotFoundError, ValueError: if the config names what is not there or does not fit together.
    """
    if "model" not in cfg:
        raise ValueError(f"{cfg.filename} has no model to count")
    clip = (cfg.model.get("backbone") or {}).get("clip")
    if clip is not None:
        clip["pretrained"] = None
    checks.check_run(cfg, [])
    if cfg.get("custom_imports"):
        import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.get("default_scope", "mmseg"))
    with meta_device():
        model: nn.Module = MODELS.build(cfg.model)
    return model


def count_parameters(cfg: Config) -> dict[str, Any]:
    """Count the trained parameters of a config's model.

    Args:
        cfg: a config of this project; its paths to CLIP are completed, its weights left out.

    Returns:
        ``parts``: part -> how many; ``adapters``: their sum, positional embeddings, decoder and detector left out;
        ``free``: the same with numbers of orthogonal blocks counted half, as the H-CLIP paper counts them;
        ``dead``: how many of the adapters' numbers change nothing, whatever they are: those of q and k of the last
        image block and its prompts, as that block runs without its attention;
        ``paper``: the config's entry of that name, or None.

    Raises:
        FileNotFoundError, ValueError: as :func:`build_on_meta`.
    """
    model = build_on_meta(cfg)
    parts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts[part_of(name)] += parameter.numel()
    halved = _share_out_pop(model, parts)
    order = [*ADAPTERS, *(part for part in parts if part not in (*ADAPTERS, *APART)), *reversed(APART)]
    trained = sum(number for part, number in parts.items() if part not in APART)
    paper = cfg.get("paper")
    return dict(
        parts={part: parts[part] for part in order if parts[part]},
        adapters=trained,
        free=trained - halved,
        dead=count_dead(model),
        paper=None if paper is None else paper.to_dict(),
    )


def count_dead(model: nn.Module) -> int:
    """How many trained numbers of a model's adapter change nothing."""
    backbone = getattr(model, "backbone", None)
    if not (isinstance(backbone, nn.Module) and isinstance(backbone, NamesDeadParameters)):
        return 0
    found = [(backbone.get_parameter(name), where) for name, where in backbone.dead_parameters()]
    return sum(parameter[where].numel() for parameter, where in found if parameter.requires_grad)


def _share_out_pop(model: Any, parts: Counter[str]) -> int:
    """Give the numbers of POP's tensor, which both towers share, to the towers.

    Returns:
        What its orthogonal blocks count less where their numbers count half.
    """
    adapter = getattr(getattr(model, "backbone", None), "adapter", None)
    if not isinstance(adapter, POP) or not adapter.tensor.requires_grad:
        return 0
    towers = {"image": model.backbone.image_tower, "text": model.backbone.text_tower}
    widths = {name: tower.width for name, tower in towers.items()}
    depths = {name: tower.layers for name, tower in towers.items()}
    del parts["adapters"]
    for name, entries in tower_entries(adapter, widths, depths).items():
        parts[f"adapters, {name} tower"] += entries
    numbers = adapter.count_parameters()
    return numbers.entries - numbers.free


def in_mi(number: int) -> str:
    """A number in Mi (2^20), as the H-CLIP paper's "M" turns out to be."""
    return f"{number / MI:.2f} Mi" if number >= MI / 100 or not number else f"{number / MI:.4f} Mi"


def print_count(name: str, counted: Mapping[str, Any]) -> None:
    """Print the table of one config's parts."""
    table = number_table("trained", "parameters", "", title=name)
    table.title_justify = "left"
    for part, number in counted["parts"].items():
        table.add_row(part, f"{number:,}", in_mi(number))
    table.add_section()
    table.add_row("without positions and decoder", f"{counted['adapters']:,}", in_mi(counted["adapters"]))
    if counted["free"] != counted["adapters"]:
        table.add_row("the same, orthogonal blocks half", f"{counted['free']:,}", in_mi(counted["free"]))
    if counted["dead"]:
        table.add_row("of these without effect", f"{counted['dead']:,}", in_mi(counted["dead"]))
    paper = counted["paper"] or {}
    if "params" in paper:
        table.add_row("printed in the paper", "", f"{paper['params']} M")
    console = Console()
    console.print(table)
    if "counted" in paper:
        console.print(f"The printed figure: {paper['counted']}.\n", highlight=False)


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a config: printed beside counted."""
    lines = ["| config | printed (M) | trained (Mi) | orthogonal half (Mi) |", "|---|---|---|---|"]
    for name, counted in rows.items():
        printed = (counted["paper"] or {}).get("params", "")
        numbers = [in_mi(counted[key]).removesuffix(" Mi") for key in ("adapters", "free")]
        lines.append(f"| {name} | {printed} | {numbers[0]} | {numbers[1]} |")
    return "\n".join(lines)


def count_all(configs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Config's name -> its counts, see `count_parameters`; the path stands for a name that several configs have.

    Raises:
        FileNotFoundError, ValueError: if a config is missing, or does not fit together.
    """
    paths = list(dict.fromkeys(configs))
    stems = [Path(path).stem for path in paths]
    names = [stem if stems.count(stem) == 1 else path for path, stem in zip(paths, stems, strict=True)]
    return {name: count_parameters(launch.read_config(path)) for name, path in zip(names, paths, strict=True)}


def print_counts(counts: Mapping[str, Mapping[str, Any]], form: str) -> None:
    """Print counts of configs.

    Args:
        counts: see `count_all`.
        form: 'table' for a table of parts for each config, 'markdown' for a line for each, 'json' for everything.
    """
    if form == "json":
        print(json.dumps(counts, indent=2))
    elif form == "markdown":
        print(markdown(counts))
    else:
        for name, counted in counts.items():
            print_count(name, counted)
