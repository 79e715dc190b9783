"""A whole ablation: every row trained with every seed, and the report of what there is."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mmengine.config import Config
from tqdm import tqdm

from hclip_mmseg.ablation.jobs import Job, Settings, job_config
from hclip_mmseg.ablation.metric import Metric
from hclip_mmseg.ablation.report import write_report
from hclip_mmseg.ablation.results import fingerprint, trusted_result
from hclip_mmseg.ablation.rows import best_factors, chosen_rows, row_facts, search_jobs
from hclip_mmseg.ablation.runs import Runs
from hclip_mmseg.apis import checks, launch
from hclip_mmseg.files.errors import WriteError


def core_shares(jobs: int) -> list[list[int] | None]:
    """The cores of each of ``jobs`` workers; None for all of them, or where they cannot be set.

    Raises:
        ValueError: if there are fewer cores than workers.
    """
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1, not {jobs}")
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        return [None] * jobs
    cores = launch.usable_cores()
    if jobs > len(cores):
        raise ValueError(f"--jobs {jobs} is more than the {len(cores)} cores that there are")
    return [cores[index * len(cores) // jobs : (index + 1) * len(cores) // jobs] for index in range(jobs)]


class Ablation:
    """Runs jobs that are not done, several at a time.

    Args:
        table: the rows.
        settings: what all runs share.
        shares: cores of each worker.
        threads: threads of a run; None for its share of the cores.

    Attributes:
        failed: what went wrong, one message a run.
    """

    def __init__(self, table: Config, settings: Settings, shares: Sequence[list[int] | None], threads: int | None):
        self.table, self.settings = table, settings
        metric = Metric.of(table)
        self.shown = metric.train, metric.held_out
        self.threads = threads
        self.runs = Runs()
        self.failed: list[str] = []
        self.workers = len(shares)
        self._configs: dict[Job, Config] = {}
        self._shares: SimpleQueue[list[int] | None] = SimpleQueue()
        for share in shares:
            self._shares.put(share)

    def results(self, jobs: Iterable[Job], run: bool = True) -> dict[Job, dict[str, Any]]:
        """The result of each job, from its folder or, if ``run``, by running it; failed ones are left out.

        Raises:
            KeyboardInterrupt: after ending what runs.
        """
        configs = {job: self._config(job) for job in jobs}
        found: dict[Job, dict[str, Any]] = {}
        todo: list[Job] = []
        for job, cfg in configs.items():
            result = trusted_result(job.folder(self.settings.out), fingerprint(cfg))
            if result is None:
                todo.append(job)
            else:
                found[job] = result
        if run and todo:
            found |= self._run_all(todo, configs, done=len(found))
        return {job: found[job] for job in configs if job in found}

    def _config(self, job: Job) -> Config:
        if job not in self._configs:
            self._configs[job] = job_config(self.table, job, self.settings)
        return self._configs[job]

    def _run_all(self, todo: Sequence[Job], configs: dict[Job, Config], done: int) -> dict[Job, dict[str, Any]]:
        found: dict[Job, dict[str, Any]] = {}
        pool = ThreadPoolExecutor(self.workers)
        futures = {pool.submit(self._run, job, configs[job]): job for job in todo}
        try:
            with tqdm(total=done + len(todo), initial=done, unit="run") as bar:
                for future in as_completed(futures):
                    job = futures[future]
                    try:
                        found[job] = future.result()
                        metrics = found[job]["metrics"]
                        shown = ", ".join(f"{key} {metrics.get(key, math.nan):.1f}" for key in self.shown)
                        bar.write(f"{job.folder(Path())}: {shown}")
                    except (RuntimeError, OSError, WriteError) as error:
                        self.failed.append(str(error))
                        bar.write(f"failed: {error}")
                    bar.update()
        except KeyboardInterrupt:
            self.runs.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return found

    def _run(self, job: Job, cfg: Config) -> dict[str, Any]:
        share = self._shares.get()
        try:
            threads = self.threads or len(share or launch.usable_cores())
            return self.runs.run(job, cfg, job.folder(self.settings.out), share, threads)
        finally:
            self._shares.put(share)


@dataclass(frozen=True)
class Plan:
    """An ablation whose rows and settings have been checked.

    Attributes:
        table: all rows.
        rows: those that are run.
        seeds: how many, from 0.
        factors: of the search for learning rates; none where there is no search.
        facts: see `row_facts`.
        ablation: what runs the jobs.
    """

    table: Config
    rows: Sequence[str]
    seeds: int
    factors: Sequence[float]
    facts: Mapping[str, Mapping[str, Any]]
    ablation: Ablation

    def search_jobs(self, rows: Sequence[str]) -> list[Job]:
        """The runs of the search of rows."""
        return search_jobs(self.table, rows, self.factors)

    def jobs(self, rows: Sequence[str], factors: Mapping[str, float]) -> list[Job]:
        """The runs of rows with every seed, at the learning rates that were found."""
        return [Job(row, seed, factors.get(row, 1.0)) for seed in range(self.seeds) for row in rows]


def prepare_ablation(
    table: str,
    settings: Settings,
    rows: Sequence[str] | None = None,
    seeds: int = 3,
    factors: Sequence[float] = (),
    workers: int = 1,
    threads: int | None = None,
) -> Plan:
    """Read and check all that an ablation needs, before long work starts.

    Args:
        table: path of the config with the rows.
        settings: what all runs share.
        rows: those that are run; None for all.
        seeds: how many, from 0.
        factors: the learning rates of the search, as multiples of the base config's; none for no search.
        workers: runs at a time, each on its share of the cores.
        threads: threads of a run; None for its share of the cores.

    Raises:
        FileNotFoundError, KeyError, TypeError, ValueError: if a config is missing or does not fit together.
    """
    cfg = launch.read_config(table)
    chosen = chosen_rows(cfg, rows)
    if seeds < 1:
        raise ValueError(f"--seeds must be at least 1, not {seeds}")
    for job in (Job(chosen[0], 0), Job(chosen[0], 0, search=True)):
        checks.check_run(job_config(cfg, job, settings), ["train", "val"])
    facts = row_facts(cfg, list(cfg.rows), settings)
    return Plan(cfg, chosen, seeds, factors, facts, Ablation(cfg, settings, core_shares(workers), threads))


def run_ablation(plan: Plan) -> bool:
    """Run what is not done, and report all rows of which there is something.

    An interruption ends what runs; the report is written then too.

    Returns:
        Whether every run that was asked for is done.
    """
    ablation, metric, out = plan.ablation, Metric.of(plan.table), plan.ablation.settings.out
    launch.interrupt_on_termination()  # so that what runs is ended too
    try:
        searched = ablation.results(plan.search_jobs(plan.rows))
        unsearched = {job.row for job in plan.search_jobs(plan.rows) if job not in searched}
        factors, _ = best_factors(searched, metric)
        ablation.results(plan.jobs([row for row in plan.rows if row not in unsearched], factors))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
    # of all rows, and of what there is
    every = list(plan.table.rows)
    factors, search = best_factors(ablation.results(plan.search_jobs(every), run=False), metric)
    done = ablation.results(plan.jobs(every, factors), run=False)
    results = {row: [result for job, result in done.items() if job.row == row] for row in every}
    print(write_report(out, plan.facts, plan.table.get("claims", []), results, search, metric))
    lacking = [job for job in plan.jobs(plan.rows, factors) if job not in done]
    print(f"{len(done)} runs are reported, {len(lacking)} lack; report: {out / 'results.md'}")
    return not ablation.failed and not lacking
