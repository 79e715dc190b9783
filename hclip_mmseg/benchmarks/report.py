"""The paper's row as measured, beside the printed one: for the terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from hclip_mmseg.benchmarks.results import Results
from hclip_mmseg.evaluation.printed_figures import METRICS, Printed, measured_as, printed_figures
from hclip_mmseg.files.writing import write_whole

TITLES = {"mIoU_labelled": "mIoU of labelled classes", "mAcc_all": "mAcc over all classes"}
SPLIT = {
    "mIoU_labelled": TITLES["mIoU_labelled"],
    "mIoU": "mIoU, predicted classes without labels as 0",
    "PQ_seen": "PQ of seen classes",
    "PQ_unseen": "PQ of unseen classes",
    "mIoU_seen": "mIoU of seen classes",
    "mIoU_unseen": "mIoU of unseen classes",
}
PRINTED_NOTE = "Rows marked 'printed' are the paper's figures and were not measured here."
LABELLED_NOTE = (
    "mIoU counts a class that is predicted but never labelled as 0, as MMSegmentation, SAN and MAFT+ do; that of "
    "labelled classes leaves it out, as CAT-Seg, H-CLIP, FC-CLIP and CLIPtrase do."
)
ALL_NOTE = "mAcc over all classes counts those that are never labelled as 0, as CLIPtrase does."
SEEN_NOTE = "A class is seen if one of its names is that of a class of the training data."
EIGHT = ("VOC21", "PC-60", "COCO-Object", "PAS-20", "PC-59", "COCO-Stuff", "Cityscapes", "A-150")
"""The benchmarks that methods without training are averaged over."""
TUNED_NOTE = "Chosen by the method's authors benchmark by benchmark, on the data that is reported: {}."
FILE_WIDTH = 160  # characters in a line where no terminal says


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Metrics under the papers' names: 'coco_panoptic/PQ' is PQ, 'aAcc' is pAcc; None where not a number."""
    found: dict[str, float | None] = {}
    for key, value in metrics.items():
        name = key.rsplit("/", 1)[-1]
        name = {"aAcc": "pAcc"}.get(name, name)
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        found[key if name in found else name] = None if math.isnan(number) else number
    return found


class Report:
    """Results of some benchmarks beside the printed ones.

    Args:
        results: of a model.
        names: the benchmarks, as columns in this order; those without a result yet have empty ones.
    """

    def __init__(self, results: Results, names: Sequence[str]) -> None:
        self.results, self.names = results, tuple(names)
        self.paper = results.about.get("paper") or {}
        self.printed = printed_figures(self.paper)
        self.measured_as = {metric: measured_as(results.about.get("style"), metric) for metric in METRICS}

    def headings(self) -> list[str]:
        """The paper's name of each benchmark, where it has one."""
        of = {benchmark: printed.heading for (benchmark, _), printed in self.printed.items()}
        return [of.get(name, name) for name in self.names] + (["mean of eight"] if self._averages() else [])

    def _averages(self) -> bool:
        return bool(self._model().get("protocol")) and set(EIGHT) <= set(self.names)

    def _with_mean(self, texts: list[str]) -> list[str]:
        """A row's texts, with the mean of the eight benchmarks where they are asked for; "" where one lacks."""
        if not self._averages():
            return texts
        of = dict(zip(self.names, texts, strict=True))
        numbers = [float(of[name]) for name in EIGHT if of[name]]
        return [*texts, f"{fmean(numbers):.2f}" if len(numbers) == len(EIGHT) else ""]

    def rows(self) -> dict[str, list[str]]:
        """Title of a row -> a text for each benchmark; rows in which nothing stands are left out."""
        rows: dict[str, list[str]] = {}
        for metric, own in self.measured_as.items():
            measured = [self._measured(name, own) for name in self.names]
            rows[f"{TITLES.get(own, own)}, measured here"] = self._with_mean(measured)
            printed = [self._printed(name, metric) for name in self.names]
            rows[f"{metric}, {self.printed_row}"] = self._with_mean(printed)
        for metric, title in SPLIT.items():
            if metric not in self.measured_as.values():
                rows[title] = self._with_mean([self._measured(name, metric) for name in self.names])
        blank = [""] if self._averages() else []
        rows["seen classes"] = [self._seen(name) for name in self.names] + blank
        rows["images"] = [f"{self._of(name).get('images') or ''}" for name in self.names] + blank
        return {title: texts for title, texts in rows.items() if any(texts)}

    @property
    def printed_row(self) -> str:
        """How the paper's row is called."""
        return f"printed ({self.paper.get('row', 'the paper')})"

    def tuned(self) -> tuple[str, ...]:
        """The settings of the model that its authors chose for each benchmark."""
        model = self._model()
        if not model.get("protocol"):
            return ()
        from hclip_mmseg.training_free.protocol import tuned_settings  # which needs what other models do not

        return tuned_settings(model, EIGHT)

    def _model(self) -> Mapping[str, Any]:
        model: Mapping[str, Any] = (self.results.about.get("settings") or {}).get("model") or {}
        return model

    def _of(self, name: str) -> Mapping[str, Any]:
        return self.results.measured.get(name, {})

    def _measured(self, name: str, metric: str) -> str:
        value = self._of(name).get("metrics", {}).get(metric)
        return "" if value is None else f"{value:.2f}"

    def _printed(self, name: str, metric: str) -> str:
        printed = self.printed.get((name, metric))
        return "" if printed is None else f"{printed.figure:g}"

    def _seen(self, name: str) -> str:
        known = [entry["seen"] for entry in self._of(name).get("classes", ()) if entry["seen"] is not None]
        return f"{sum(known)} of {len(known)}" if known else ""

    def show(self, console: Console | None = None) -> None:
        """Prints the table, in parts below each other where not all columns fit."""
        console = console or Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
        headings, rows = self.headings(), self.rows()
        column = max(6, *map(len, headings)) + 3
        at_once = max((console.width - max(map(len, rows), default=0) - 4) // column, 1)
        console.print(f"{self.results.about['config']}, {self.results.about['checkpoint']}", markup=False)
        for start in range(0, len(headings), at_once):
            part = slice(start, start + at_once)
            table = Table("")
            for heading in headings[part]:
                table.add_column(heading, justify="right", no_wrap=True)
            for title, texts in rows.items():
                table.add_row(title, *texts[part])
            console.print(table)
        console.print(self._note(), markup=False)

    def _note(self) -> str:
        rows = self.rows()
        notes = ["In percent."]
        notes += [PRINTED_NOTE] if any(self.printed_row in title for title in rows) else []
        notes += [LABELLED_NOTE] if any(TITLES["mIoU_labelled"] in title for title in rows) else []
        notes += [ALL_NOTE] if any(TITLES["mAcc_all"] in title for title in rows) else []
        notes += [SEEN_NOTE] if "seen classes" in rows else []
        tuned = self.tuned()
        notes += [TUNED_NOTE.format(", ".join(tuned))] if tuned else []
        return " ".join(notes)

    def write(self) -> list[Path]:
        """Writes Markdown and CSV (results, classes) beside the JSON file; each appears whole or not at all."""
        stem = self.results.path.with_suffix("")
        texts = {
            stem.with_name(f"{stem.name}.md"): self.markdown(),
            stem.with_name(f"{stem.name}.csv"): self.csv(),
            stem.with_name(f"{stem.name}_classes.csv"): self.classes_csv(),
        }
        for path, text in texts.items():
            write_whole(path, text)
        return [self.results.path, *texts]

    def markdown(self) -> str:
        """The table, what made it, and every class's IoU."""
        about = self.results.about
        lines = ["# Benchmarks", "", _line("", *self.headings()), "|---|" + "---:|" * len(self.headings())]
        lines += [_line(title, *texts) for title, texts in self.rows().items()]
        lines += ["", self._note(), ""]
        lines += [f"- config: `{about['config']}`", f"- checkpoint: `{about['checkpoint']}`"]
        lines += [f"- SHA-256 of the checkpoint: {about['checkpoint_sha256'] or 'not known'}"]
        for place, run in enumerate(self.results.runs):
            of = [name for name in self.names if self._of(name).get("run") == place]
            if of:
                lines += [f"- {', '.join(of)}: {_described(run)}"]
        for name in self.names:
            lines += self._class_lines(name)
        return "\n".join(lines) + "\n"

    def _class_lines(self, name: str) -> list[str]:
        classes = self._of(name).get("classes")
        if not classes:
            return []
        lines = ["", f"<details><summary>{name}: every class</summary>", ""]
        lines += ["| label | class | seen | IoU | Acc | pixels |", "|---:|---|---|---:|---:|---:|"]
        for label, entry in enumerate(classes):
            lines.append(_line(label, *(_text(entry[key]) for key in ("name", "seen", "IoU", "Acc", "pixels"))))
        return [*lines, "", "</details>"]

    def csv(self) -> str:
        """One line for each benchmark and metric; ``printed`` is the paper's, on the line of what its code computes."""
        about, rows = self.results.about, []
        for name, heading in zip(self.names, self.headings(), strict=True):
            metrics = self._of(name).get("metrics", {})
            run = self.results.runs[self._of(name)["run"]] if metrics else {}
            beside = {self.measured_as[metric]: entry for (of, metric), entry in self.printed.items() if of == name}
            for metric in dict.fromkeys([*metrics, *beside]):
                printed = beside.get(metric, Printed("", math.nan)).figure
                rows.append(
                    dict(
                        benchmark=name,
                        heading=heading,
                        metric=metric,
                        measured=_text(metrics.get(metric)),
                        printed="" if math.isnan(printed) else printed,
                        printed_row=self.paper.get("row", "") if not math.isnan(printed) else "",
                        config=about["config"],
                        checkpoint=about["checkpoint"],
                        checkpoint_sha256=about["checkpoint_sha256"],
                        seed=run.get("seed", ""),
                        versions=_versions(run),
                    )
                )
        return _as_csv(rows)

    def classes_csv(self) -> str:
        """One line for each class of each benchmark."""
        return _as_csv(
            [
                dict(benchmark=name, label=label, **{"class": entry["name"]})
                | {key: _text(entry[key]) for key in ("seen", "IoU", "Acc", "pixels")}
                for name in self.names
                for label, entry in enumerate(self._of(name).get("classes") or ())
            ]
        )


def _described(run: Mapping[str, Any]) -> str:
    return (
        f"seed {run.get('seed')}, {run.get('processes')} process(es), {run.get('device')}; {_versions(run)}; "
        f"`{' '.join(run.get('command', ()))}`"
    )


def _versions(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{package} {number}" for package, number in run.get("versions", {}).items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _line(*cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
