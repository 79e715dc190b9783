"""The benchmark itself: processes in turn, one that dies, tables, the plot."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import subprocess
import sys
from functools import partial

import pytest
import torch
from hclip_tools.benchmark import main
from miniature import REPOSITORY
from processes import run_script

from hclip_mmseg.costs import benchmark, measure
from hclip_mmseg.costs.measure import matrix_product_rate
from hclip_mmseg.costs.report import lines_of, markdown_of, plot
from hclip_mmseg.costs.rows import ROWS, Row
from hclip_mmseg.models import onednn

HOLDS_64_MIB_MORE = """
import json, multiprocessing
import torch
from hclip_mmseg.costs import measure
from hclip_mmseg.costs.rows import ROWS, Row
from hclip_mmseg.models import onednn

measure.PROCESSES = multiprocessing.get_context("fork")
onednn.is_faster = lambda threads: False  # its trial holds memory too
measure.matrix_product_rate = lambda *of, **settings: 1.0  # which takes long, and comes after the peak

def prepare(form, device):
    torch.set_num_threads(1)
    return lambda: torch.ones((64 if form == "direct" else 1) << 18).sum()

ROWS["toy"] = Row("toy", prepare)
found = measure.measure(ROWS["toy"], "cpu", repeat=2, seconds=60)
print(json.dumps({form: figures["peak_mib"] for form, figures in found.items()}))
"""
A_MATRIX = torch.ones(8, 8)


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """Toy rows, whose steps write down what they see."""
    monkeypatch.setattr(measure, "PROCESSES", multiprocessing.get_context("fork"))
    monkeypatch.setattr(measure, "matrix_product_rate", partial(matrix_product_rate, side=64))
    notes = tmp_path / "steps.txt"
    notes.touch()

    def prepare(form, device):
        torch.set_num_threads(1)  # a forked process has not the threads of the one before
        held = torch.ones(64 << 18) if form == "direct" else None

        def step():
            kind = (A_MATRIX @ A_MATRIX).dtype
            with notes.open("a") as file:
                file.write(f"{form} {str(kind)[6:]} {torch.is_grad_enabled()} {os.getpid()}\n")
            return held

        return step

    def dies(form, device):
        torch.set_num_threads(1)
        count = iter(range(3))
        return lambda: os._exit(7) if next(count) == 2 else None

    for row in (
        Row("toy", prepare, time_target=0.5),
        Row("toy-pair", prepare, other="frozen", training=True),
        Row("toy-bf16", prepare, other="fp32"),
        Row("toy-dead", dies),
    ):
        monkeypatch.setitem(ROWS, row.name, row)
    return lambda: [line.split() for line in notes.read_text().splitlines()]


def test_direct_forms_run_alone_and_others_in_turn(steps):
    found = measure.measure(ROWS["toy"], "cpu", repeat=3, seconds=60)
    assert [line[0] for line in steps()] == ["ours"] * 5 + ["direct"] * 4, "one before, and one to count"
    assert found["ours"]["count"] == found["direct"]["count"] == 3
    assert found["ours"]["flop"] == 2 * 8**3 and found["ours"]["rate"] > 0
    assert found["ours"]["launches"] == 1 and found["ours"]["copied"] > 0
    assert len({line[3] for line in steps()}) == 2
    before = len(steps())
    measure.measure(ROWS["toy-pair"], "cpu", repeat=3, seconds=0)
    assert [line[0] for line in steps()[before:]] == ["ours", "frozen"] * 4 + ["ours"]
    assert "flop" not in found["direct"]
    assert all(line[2] == "True" for line in steps()[before:]) and steps()[0][2] == "False"


def test_steps_are_timed_by_the_clock_that_is_asked_for(steps, monkeypatch):
    monkeypatch.setitem(measure.CLOCKS, "processor", itertools.count().__next__)
    found = measure.measure(ROWS["toy"], "cpu", repeat=2, seconds=60, clock="processor")
    assert [found[form][f"{which}_s"] for form in found for which in ("least", "most")] == [1, 1, 1, 1]


def test_a_precision_is_that_of_both_forms(steps):
    measure.measure(ROWS["toy"], "cpu", repeat=1, seconds=0, precision="bf16")
    assert {tuple(line[:2]) for line in steps()} == {("ours", "bfloat16"), ("direct", "bfloat16")}
    with pytest.raises(ValueError, match="compare bf16 with fp32 themselves; leave --precision tf32 out"):
        benchmark.check_request(["toy-bf16"], 1, (), "tf32", "cpu")


def test_the_peak_counts_what_a_step_holds_in_passing():
    """In a fresh interpreter, as a fork of this one could fill its freed memory first."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment["PYTHONPATH"] = str(REPOSITORY)
    run = subprocess.run([sys.executable, "-c", HOLDS_64_MIB_MORE], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    peaks = json.loads(run.stdout.splitlines()[-1])
    assert peaks["direct"] - peaks["ours"] > 60  # or twice as much, where freed memory does not fit the next step


def test_slow_steps_are_repeated_less_and_bf16_is_ours_alone(steps):
    assert measure.measure(ROWS["toy"], "cpu", repeat=3, seconds=0)["direct"]["count"] == 1
    before = len(steps())
    measure.measure(ROWS["toy-bf16"], "cpu", repeat=1, seconds=0)
    assert {tuple(line[:2]) for line in steps()[before:]} == {("ours", "bfloat16"), ("fp32", "float32")}


def test_a_process_that_dies_costs_its_row_alone(steps, tmp_path, monkeypatch, capsys):
    with pytest.raises(measure.MeasurementError, match=r"toy-dead \(ours\) ended with exit code 7"):
        measure.measure(ROWS["toy-dead"], "cpu", repeat=5, seconds=60)
    files = {name: tmp_path / f"b.{name}" for name in ("json", "markdown")}
    options = [part for name, file in files.items() for part in (f"--{name}", str(file))]
    monkeypatch.setattr(benchmark, "preload", lambda: None)
    monkeypatch.setitem(benchmark.AHEAD, "cpu", 1)  # as on a GPU: the next row's processes wait already
    assert main(["toy-dead", "toy", *options, "--device", "cpu"]) == 1
    assert not multiprocessing.active_children()
    record = json.loads(files["json"].read_text())
    assert list(record["results"]) == ["toy"] and "exit code 7" in record["failed"]["toy-dead"]
    text = files["markdown"].read_text()
    assert "| toy | direct |" in text and "toy-dead (ours) ended" in text
    assert "toy-dead" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["whole-8"], "no rows ['whole-8']; choose from encode-384"),
        (["--repeat", "0"], "--repeat must be at least 1"),
        (["--json", "absent/b.json"], "absent to write b.json into"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_the_processes_run_the_clones_code(tmp_path, monkeypatch):
    """Even where another version is installed, here one that cannot be imported at all."""
    (tmp_path / "installed/hclip_mmseg").mkdir(parents=True)
    (tmp_path / "installed/hclip_mmseg/__init__.py").write_text("raise ImportError('the installed version')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    options = ("--repeat", 1, "--seconds", 0, "--device", "cpu", "--json", "b.json")
    ended = run_script(REPOSITORY / "tools/benchmark.py", "fisa-labels-150", *options, cwd=tmp_path, fresh=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert list(json.loads((tmp_path / "b.json").read_text())["results"]) == ["fisa-labels-150"]


def figures(median: float, peak: float) -> dict[str, float]:
    return dict(median_s=median, least_s=median - 1, most_s=median + 1, count=3, peak_mib=peak, flop=1e9, rate=1e9)


def test_the_table_and_the_plot(tmp_path):
    results = {
        "train-171": {"ours": figures(4, 500), "direct": figures(40, 1000)},
        "train-171-adapters": {"ours": figures(4.4, 500), "frozen": figures(4, 450)},
        "whole-150": {"ours": figures(2, 500), "direct": figures(4, 1000)},
        "whole-7": {"ours": figures(1, 500), "direct": figures(3, 1000)},
    }
    lines = {line[0]: line for line in lines_of(results)}
    assert lines["train-171"][2:6] == ("4.000 (3.000-5.000)", "40.000 (39.000-41.000)", "0.100", "0.125 met")
    assert lines["train-171"][7:9] == ("1.000", "25%")
    assert lines["train-171"][10:] == ("500", "1000", "0.500", "0.25 missed")
    assert lines["train-171-adapters"][4:6] == ("1.100", "1.05 missed")
    overcounted = {**figures(4, 500), "flop": 5e9}
    (line,) = lines_of({"train-171": {"ours": overcounted, "direct": figures(40, 1000)}})
    assert line[7:9] == ("", "")
    machine = dict(python="3", torch="2", device="cpu", precision="fp32", failed={})
    assert markdown_of(dict(machine, results=results)).count("\n| ") == 2 + len(results)
    plot(results, str(tmp_path / "plot.png"))
    assert (tmp_path / "plot.png").stat().st_size > 5000
    plot({"train-171": results["train-171"]}, str(tmp_path / "none.png"))
    assert not (tmp_path / "none.png").exists()


def test_all_that_was_promised_is_measured():
    assert {f"whole-{names}" for names in (7, 59, 150, 459, 847)} < set(ROWS)
    targets = {
        "train-171": (1 / 8, 1 / 4), "whole-7": (1 / 6, None), "whole-150": (1 / 6, None), "slide-7": (1 / 10, None),
        "text-171": (1 / 5, None), "text-847": (1 / 25, None), "train-171-adapters": (1.05, None),
        "train-171-bf16": (1.0, 1.0),
    }  # fmt: skip
    assert {name: (ROWS[name].time_target, ROWS[name].memory_target) for name in targets} == targets
    panels = {label for row in ROWS.values() for label, _ in row.plot}
    assert {"names", "image side, pixels, 7 names"} <= panels


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")
def test_the_rate_is_that_of_the_best_product(monkeypatch):
    usual = matrix_product_rate("cpu", torch.float32, side=512)
    monkeypatch.setattr(onednn, "product", lambda a, b, bias: None)
    assert matrix_product_rate("cpu", torch.float32, side=512) > 10 * usual
