"""Writes the tables of docs/models.md from model-index.yml and the metafiles.

Run `python docs/models_table.py` after a metafile has changed; a test says when.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hclip_mmseg.zoo import ZooModel, read_zoo

PAGE = Path(__file__).with_name("models.md")
START, END = "<!-- tables: python docs/models_table.py -->\n", "<!-- end of the tables -->"
MEASURED = Path(__file__).with_name("models_measured.json")
HEADINGS = (
    "name",
    "config",
    "weights",
    "licence of the code",
    "trained on",
    "parameters",
    "printed by the authors",
    "measured here",
)
PRINTED = ("mIoU", "PQ", "AP50 novel", "AP50 base")


def tables() -> str:
    """Where was measured; then a heading and a table for each system."""
    machine = f"*Measured here* on {measured()['machine']}.\n\n"
    systems: dict[str, list[ZooModel]] = {}
    for model in read_zoo():
        systems.setdefault(model.collection, []).append(model)
    return machine + "\n".join(section(name, models) for name, models in systems.items())


def section(name: str, models: list[ZooModel]) -> str:
    """The heading and the table of one system."""
    lines = [f"### {name}", "", f"[Paper]({models[0].paper})", "", f"| {' | '.join(HEADINGS)} |"]
    lines += ["|" + "---|" * len(HEADINGS), *(f"| {' | '.join(row(model))} |" for model in models)]
    return "\n".join(lines) + "\n"


def row(model: ZooModel) -> tuple[str, ...]:
    """The cells of one model."""
    weights = {"training": "none published", "embedded": "part of the package", "CLIP alone": "CLIP's own"}
    where = weights[model.needs] if model.weights is None else f"[{model.weights.file}]({model.weights.url})"
    return (
        ", ".join(f"`{name}`" for name in (*model.aliases, model.name)),
        f"`{model.config}`",
        where if model.part is None else f"{where} ({model.part})",
        model.weights.licence if model.weights else "",
        model.trained_on or "nothing",
        f"{model.parameters / 1e6:.1f} M" if model.parameters else "",
        printed(model),
        cost(measured()["models"].get(model.name, {})),
    )


def printed(model: ZooModel) -> str:
    """The figures of the paper, by metric."""
    found = {metric: [] for metric in PRINTED}
    for result in model.results:
        for metric in PRINTED:
            if metric in result.metrics:
                found[metric].append(f"{result.dataset} {result.metrics[metric]}")
    return "; ".join(f"{metric} {', '.join(figures)}" for metric, figures in found.items() if figures)


def measured() -> dict[str, Any]:
    """What docs/measure_models.py has found."""
    found: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found


def cost(found: dict[str, dict[str, float]]) -> str:
    """Seconds for an image and memory, by number of class names."""
    parts = [
        f"{names} names {entry['image_s']:.1f} s, {entry['peak_mib'] / 1024:.1f} GiB" for names, entry in found.items()
    ]
    return "; ".join(parts)


def page() -> str:
    """The page as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    return before + START + "\n" + tables() + "\n" + END + re.split(re.escape(END), rest, maxsplit=1)[-1]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
