"""The rows of an ablation's table: which are run, at which learning rates, and what is known of them before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from hclip_mmseg.ablation.jobs import Job, Settings, job_config
from hclip_mmseg.ablation.metric import MIOU, Metric
from hclip_mmseg.apis import launch
from hclip_mmseg.costs.parameters import count_parameters

SEARCH_SEED = 1000


def chosen_rows(table: Config, names: Sequence[str] | None) -> list[str]:
    """The rows to run, in the table's order.

    Raises:
        ValueError: if one does not exist.
    """
    unknown = [name for name in names or () if name not in table.rows]
    if unknown:
        raise ValueError(f"no rows {unknown} in {table.filename}; there are {', '.join(table.rows)}")
    return [name for name in table.rows if names is None or name in names]


def search_jobs(table: Config, rows: Sequence[str], factors: Sequence[float]) -> list[Job]:
    """The runs of the search; a row without adapters has nothing to search."""
    adapted = [row for row in rows if table.rows[row].backbone.get("adapter") is not None]
    return [Job(row, SEARCH_SEED, factor, search=True) for row in adapted for factor in factors]


def best_factors(
    found: dict[Job, dict[str, Any]], metric: Metric = MIOU
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Row -> its best factor, and row -> factor -> the metric on training names."""
    scores: dict[str, dict[str, float]] = {}
    for job, result in found.items():
        score = result["metrics"].get(metric.train, math.nan)
        if not math.isnan(score):
            scores.setdefault(job.row, {})[f"{job.factor:g}"] = score
    return {row: float(max(own, key=own.__getitem__)) for row, own in scores.items()}, scores


def row_facts(table: Config, rows: Sequence[str], settings: Settings) -> dict[str, dict[str, Any]]:
    """Title, counted parameters and printed figures of each row."""
    facts: dict[str, dict[str, Any]] = {}
    for name in rows:
        counted = count_parameters(job_config(table, Job(name, 0), settings))
        paper = launch.read_config(table.rows[name].config).get("paper") if "config" in table.rows[name] else None
        facts[name] = dict(
            title=table.rows[name].title,
            trained=counted["adapters"],
            free=counted["free"],
            paper={} if paper is None else paper.to_dict(),
        )
    return facts
