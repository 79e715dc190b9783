"""Run a whole ablation unattended: python tools/ablate.py [--seeds 3] [--search] [--jobs N] [--out DIR].

Every row of a table is trained with every seed, each in a process of its own through tools/train.py. A finished run
is never repeated while its config, the versions and CLIP's weights are the same, so an interrupted ablation goes on
where it was when the same command is given again. The report is written in the end, and of what there is when
something failed or was interrupted.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from typing import Any

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ablation_jobs import Job, Runs, Settings, fingerprint, job_config, trusted_result
from ablation_report import MIOU, Metric, write_report
from arguments import SettingAction
from count_parameters import count
from mmengine.config import Config
from tqdm import tqdm

from hclip_mmseg.apis import checks, launch

SEARCH_SEED = 1000
FACTORS = (0.1, 0.3, 1.0, 3.0)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train every row of an ablation with several seeds; table and plots.")
    parser.add_argument("--table", default="configs/ablation/tiny_scenes.py", help="the rows (%(default)s)")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 (%(default)s)")
    parser.add_argument("--out", default="work_dirs/ablation", help="folder of runs and report (%(default)s)")
    parser.add_argument(
        "--search",
        action="store_true",
        help="first choose each row's learning rate for its adapters, by the same search for all: one run for each "
        "factor, the best result on training names, on scenes of their own",
    )
    parser.add_argument(
        "--factors", nargs="+", type=float, default=FACTORS, help="of the search (%(default)s times the base's rate)"
    )
    parser.add_argument("--search-iters", type=int, help="length of a run of the search (that of all runs)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on its share of the cores (1)")
    parser.add_argument("--threads", type=int, help="threads of a run (its share of the cores)")
    parser.add_argument("--max-iters", type=int, help="length of a run (the base config's)")
    parser.add_argument("--scenes", type=int, help="validation scenes (the base config's)")
    parser.add_argument(
        "--validations", type=int, default=3, help="evaluations of a run, its end included (%(default)s)"
    )
    parser.add_argument("--cfg-options", nargs="+", action=SettingAction, default=[], metavar="KEY=VALUE")
    return parser.parse_args(arguments)


def chosen_rows(table: Config, names: Sequence[str] | None) -> list[str]:
    """The rows to run, in the table's order.

    Raises:
        ValueError: if one does not exist.
    """
    unknown = [name for name in names or () if name not in table.rows]
    if unknown:
        raise ValueError(f"no rows {unknown} in {table.filename}; there are {', '.join(table.rows)}")
    return [name for name in table.rows if names is None or name in names]


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
        found, todo = {}, []
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
        found = {}
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
                    except (RuntimeError, OSError) as error:
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
    facts = {}
    for name in rows:
        counted = count(job_config(table, Job(name, 0), settings))
        paper = launch.read_config(table.rows[name].config).get("paper") if "config" in table.rows[name] else None
        facts[name] = dict(
            title=table.rows[name].title,
            trained=counted["adapters"],
            free=counted["free"],
            paper={} if paper is None else paper.to_dict(),
        )
    return facts


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    with launch.clear_errors():
        table = launch.read_config(args.table)
        metric = Metric.of(table)
        rows = chosen_rows(table, args.rows)
        if args.seeds < 1:
            raise ValueError(f"--seeds must be at least 1, not {args.seeds}")
        settings = Settings(
            Path(args.out), args.max_iters, args.scenes, args.search_iters, args.validations,
            launch.read_settings(args.cfg_options),
        )
        for job in (Job(rows[0], 0), Job(rows[0], 0, search=True)):
            checks.check_run(job_config(table, job, settings), ["train", "val"])
        facts = row_facts(table, list(table.rows), settings)
        ablation = Ablation(table, settings, core_shares(args.jobs), args.threads)

    def search_of(chosen: Sequence[str]) -> list[Job]:
        return search_jobs(table, chosen, args.factors) if args.search else []

    def jobs_of(chosen: Sequence[str], factors: Mapping[str, float]) -> list[Job]:
        return [Job(row, seed, factors.get(row, 1.0)) for seed in range(args.seeds) for row in chosen]

    launch.interrupt_on_termination()  # so that what runs is ended too
    try:
        searched = ablation.results(search_of(rows))
        unsearched = {job.row for job in search_of(rows) if job not in searched}
        factors, _ = best_factors(searched, metric)
        ablation.results(jobs_of([row for row in rows if row not in unsearched], factors))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
    # of all rows, and of what there is
    factors, search = best_factors(ablation.results(search_of(list(table.rows)), run=False), metric)
    done = ablation.results(jobs_of(list(table.rows), factors), run=False)
    results = {row: [result for job, result in done.items() if job.row == row] for row in table.rows}
    print(write_report(settings.out, facts, table.get("claims", []), results, search, metric))
    lacking = [job for job in jobs_of(rows, factors) if job not in done]
    print(f"{len(done)} runs are reported, {len(lacking)} lack; report: {settings.out / 'results.md'}")
    if ablation.failed or lacking:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
