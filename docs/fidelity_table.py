"""Writes the tables of docs/fidelity.md from what `tools/test.py --benchmarks ... --dry-run` tells.

Run `python docs/fidelity_table.py` after a config, a class list or a data set has changed; a test says when.
"""

from __future__ import annotations

import re
from pathlib import Path

from mmengine.config import Config

from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.benchmarks.dry_run import plan
from hclip_mmseg.evaluation.printed_figures import printed_figures

PAGE = Path(__file__).with_name("fidelity.md")
START, END = "<!-- tables: python docs/fidelity_table.py -->\n", "<!-- end of the tables -->"
CONFIGS = (
    "hclip/hclip_vitb16_coco-stuff",
    "cat_seg/cat-seg_vitb16_coco-stuff",
    "sed/sed_convnext-b_coco-stuff",
    "maft_plus/baseline-ensemble_convnext-l_coco-stuff",
    "maft_plus/fc-clip_convnext-l_coco-panoptic",
    "maft_plus/maft-plus-published_convnext-l_coco-stuff",
    "maft_plus/maft-plus-published_convnext-l_coco-panoptic",
    "fisa/fisa_vitl14-336_swin-b_coco-panoptic",
    "cliptrase/cliptrase_vitb16_224",
    "cliptrase/cliptrase_vitb16_336",
)
OF_ALL = ("prompts", "views", "metric")
OF_EACH = ("classes", "vocabulary", "image", "background", "ignored", "printed")


def tables() -> str:
    """For each config what all its benchmarks share, and a row for each benchmark that its paper has figures of."""
    return "\n".join(section(name, read_config(f"configs/{name}.py")) for name in CONFIGS)


def section(name: str, cfg: Config) -> str:
    """The heading and the table of one config."""
    benchmarks = dict.fromkeys(benchmark for benchmark, _ in printed_figures(cfg.paper))
    plans = plan(cfg, list(benchmarks))
    lines = [f"### {cfg.paper['row']}", "", f"`configs/{name}.py`", ""]
    for key in OF_ALL:
        told = dict.fromkeys(entry[key] for entry in plans)
        lines += [f"- {key}: {text}" + (f" ({_where(plans, key, text)})" if len(told) > 1 else "") for text in told]
    lines += ["", f"| benchmark | {' | '.join(OF_EACH)} |", "|---" * (len(OF_EACH) + 1) + "|"]
    lines += [f"| {entry['benchmark']} | {' | '.join(entry[key] for key in OF_EACH)} |" for entry in plans]
    return "\n".join(lines) + "\n"


def _where(plans: list[dict[str, str]], key: str, text: str) -> str:
    return ", ".join(entry["benchmark"] for entry in plans if entry[key] == text)


def page() -> str:
    """The page as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    return before + START + "\n" + tables() + "\n" + END + re.split(re.escape(END), rest, maxsplit=1)[-1]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
