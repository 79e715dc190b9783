"""Each method's mIoU and mAcc, as its published code takes the means, beside the figure of its paper."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from hclip_mmseg.benchmarks.report import Report, plain_metrics
from hclip_mmseg.benchmarks.results import Results
from hclip_mmseg.evaluation import OpenVocabIoUMetric
from hclip_mmseg.evaluation.printed_figures import MEASURED_AS, measured_as
from hclip_mmseg.training_free.printed_figures_hook import METRICS, PrintedFiguresHook, name_in_results

CLASSES = 100
LABELLED = 60


@pytest.fixture(scope="module")
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions of any class, and labels of the first 60 alone, some of them ignored: [200, 200] each."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(LABELLED, (200, 200), generator=generator)
    right = torch.rand(labels.shape, generator=generator) < 0.7
    predicted = labels.where(right, torch.randint(CLASSES, labels.shape, generator=generator))
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    return predicted, labels


@pytest.fixture(scope="module")
def measured(maps) -> dict[str, float]:
    metric = OpenVocabIoUMetric()
    metric.dataset_meta = dict(classes=[f"class {label}" for label in range(CLASSES)])
    predicted, labels = maps
    metric.process({}, [dict(pred_sem_seg=dict(data=predicted[None]), gt_sem_seg=dict(data=labels[None]))])
    return metric.evaluate(1)


def by_its_own_code(style: str, predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """mIoU and mAcc in percent, from the counts of a table [label, prediction] and the method's own divisions."""
    table = np.zeros((CLASSES, CLASSES))
    for label, found in zip(labels.ravel(), predicted.ravel(), strict=True):
        if label != 255:
            table[label, found] += 1
    right, of_label, of_prediction = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    if style == "cliptrase":  # adds 0.01 to every divisor
        iou = right / (of_label + of_prediction - right + 0.01)
        return dict(mIoU=100 * iou[of_label > 0].mean(), mAcc=100 * (right / (of_label + 0.01)).mean())
    labelled, there = of_label > 0, of_label + of_prediction > 0
    iou = right[labelled] / (of_label + of_prediction - right)[labelled]
    counted = there if style in ("maft-plus", "san") else labelled
    return dict(mIoU=100 * iou.sum() / counted.sum(), mAcc=100 * (right / of_label.clip(1))[labelled].mean())


@pytest.mark.parametrize("style", MEASURED_AS)
def test_the_figure_beside_the_printed_one_is_what_the_method_s_code_computes(style, maps, measured):
    predicted, labels = (each.numpy() for each in maps)
    for metric, expected in by_its_own_code(style, predicted, labels).items():
        assert measured[name_in_results(style, metric)] == pytest.approx(expected, abs=0.02)


def test_the_rules_differ_by_what_was_never_labelled(measured):
    assert measured["mIoU"] == pytest.approx(measured["mIoU_labelled"] * LABELLED / CLASSES, abs=0.01)
    assert measured["mAcc_all"] == pytest.approx(measured["mAcc"] * LABELLED / CLASSES, abs=0.01)
    assert measured_as("h-clip", "mIoU") == "mIoU_labelled" and measured_as("maft-plus", "mIoU") == "mIoU"
    assert measured_as(None, "mAcc") == "mAcc" and METRICS["mAcc"] == "mAcc_all" and METRICS["pAcc"] == "aAcc"


def report_of(path, style, measured) -> Report:
    about = dict(config="row.py", checkpoint="row.pth", checkpoint_sha256="ab", settings={}, style=style)
    results = Results(path)
    results.go_on_with({**about, "paper": dict(row="the row", mIoU={"PC-459": 19.4})}, {})
    results.begin_run(command=["test.py"], seed=0, versions={}, processes=1, device="cpu")
    results.add("PC-459", metrics=plain_metrics(measured), classes=[], images=1, settings={})
    return Report(results, ["PC-459"])


@pytest.mark.parametrize(
    ("style", "title", "key"),
    [("h-clip", "mIoU of labelled classes", "mIoU_labelled"), ("maft-plus", "mIoU", "mIoU"), (None, "mIoU", "mIoU")],
)
def test_the_report_puts_the_paper_s_metric_above_its_figure(tmp_path, style, title, key, measured):
    report = report_of(tmp_path / "row.json", style, measured)
    titles = list(report.rows())
    place = titles.index("mIoU, printed (the row)")
    assert titles[place - 1] == f"{title}, measured here"
    assert report.rows()[titles[place - 1]] == [f"{measured[key]:.2f}"]
    other = {"mIoU": "mIoU_labelled", "mIoU_labelled": "mIoU"}[key]
    assert [f"{measured[other]:.2f}"] in report.rows().values(), "the other one is told too"
    printed = {row["metric"]: row["printed"] for row in csv.DictReader(io.StringIO(report.csv()))}
    assert printed[key] == "19.4" and printed[other] == ""


def test_the_hook_puts_the_paper_s_metric_beside_its_figure(measured):
    lines: list[str] = []
    cfg = Config(dict(benchmark_style="cliptrase", paper=dict(row="CLIPtrase")))
    runner = SimpleNamespace(cfg=cfg, logger=SimpleNamespace(info=lines.append))
    PrintedFiguresHook(printed=dict(mAcc=44.47, mIoU=22.84)).after_test_epoch(runner, measured)
    assert str(measured["mAcc_all"]) in lines[0] and str(measured["mIoU_labelled"]) in lines[0]
    assert str(measured["mAcc"]) not in lines[0] and "mAcc is mAcc_all" in lines[0]
