"""The paper's row beside the measured one, of any metrics."""

from __future__ import annotations

import csv
import hashlib
import io

import pytest
from golden_numbers import read_json
from mmengine.config import Config
from rich.console import Console

from hclip_mmseg.benchmarks.command import training_names, use_benchmarks
from hclip_mmseg.benchmarks.report import EIGHT, Report, plain_metrics
from hclip_mmseg.benchmarks.results import Results
from hclip_mmseg.datasets.benchmarks import BENCHMARKS
from hclip_mmseg.demo_assets.scenes import TRAIN_NAMES
from hclip_mmseg.evaluation.printed_figures import Printed, printed_figures
from hclip_mmseg.files.errors import WriteError
from hclip_mmseg.files.writing import write_whole
from hclip_mmseg.vocabularies import load_vocabulary

ABOUT = dict(config="row.py", checkpoint="row.pth", checkpoint_sha256="ab" * 32, settings={})


def results_of(path, measured, **paper) -> Results:
    results = Results(path)
    results.go_on_with({**ABOUT, "paper": paper}, {})
    results.begin_run(command=["test.py"], seed=3, versions={"torch": "2.0"}, processes=1, device="cpu")
    for name, metrics in measured.items():
        results.add(name, metrics=plain_metrics(metrics), classes=[], images=7, settings={})
    return results


def cells(line) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(("file", "backbone"), [("hclip_vitb16", "ViT-B/16"), ("hclip_vitl14", "ViT-L/14")])
def test_configs_hold_the_row_that_the_paper_prints(repository, file, backbone):
    published = read_json("published")["hclip_main"]
    paper = Config.fromfile(repository / f"configs/hclip/{file}_coco-stuff.py").to_dict()["paper"]
    found = {name: printed.figure for (name, _), printed in printed_figures(paper).items()}
    assert found == dict(zip(published["columns"], published[backbone]["H-CLIP"], strict=True))


def test_headings_of_other_papers_are_the_same_benchmarks():
    found = printed_figures(
        dict(row="FISA", params=1.0, figures={"ADE150 PQ": 28.1, "ADE150 mIoU": 36.8, "COCO mIoU": 67.1, "steps": 3})
    )
    assert {key: printed.figure for key, printed in found.items()} == {
        ("ADE20K-panoptic", "PQ"): 28.1, ("A-150", "mIoU"): 36.8, ("COCO-panoptic", "mIoU"): 67.1,
    }  # fmt: skip
    assert found["A-150", "mIoU"].heading == "ADE150"
    found = printed_figures(dict(pAcc={"VOC20": 89.68}, mIoU={"ADEfull": 6.31}))
    assert {(name, metric) for name, metric in found} == {("PAS-20", "pAcc"), ("A-847", "mIoU")}
    assert printed_figures(None) == {}


def test_the_mean_of_the_eight_and_what_was_tuned(tmp_path):
    measured = {name: {"mIoU": 10.0 * place} for place, name in enumerate(EIGHT)}
    figures = dict(row="NACLIP", mIoU={name: 20.0 for name in EIGHT})
    results = results_of(tmp_path / "row.json", {**measured, "A-847": {"mIoU": 99.0}}, **figures)
    assert "mean of eight" not in Report(results, EIGHT).headings(), "of a model without a protocol of the field"
    results.about["settings"] = dict(model=dict(protocol=dict(type="cliptrase")))
    report = Report(results, [*EIGHT, "A-847"])
    assert report.tuned() == ()
    assert report.headings()[-1] == "mean of eight"
    rows = report.rows()
    assert rows["mIoU, measured here"][-1] == "35.00" and rows["mIoU, printed (NACLIP)"][-1] == "20.00"
    assert report.rows()["images"][-1] == ""
    assert "Chosen by" not in report.markdown()
    weight = {"default": 0.4, "VOC21": 0.3}
    attention = dict(type="ResidualAttention", weight=weight, feedback=dict(threshold={"default": 0.2, "PC-60": 0.3}))
    model = dict(backbone=dict(attention=attention), protocol=dict(type="naclip"))
    results.about["settings"] = dict(model=model)
    assert report.tuned() == (
        "protocol.short_side", "protocol.prob_thd",
        "backbone.attention.weight", "backbone.attention.feedback.threshold",
    )  # fmt: skip
    assert "on the data that is reported: protocol.short_side, protocol.prob_thd, backbone" in report.markdown()
    line = next(line for line in report.markdown().splitlines() if line.startswith("| mIoU, measured"))
    assert len(cells(line)) == 11
    del results.measured["A-150"]
    assert Report(results, EIGHT).rows()["mIoU, measured here"][-1] == ""
    assert "mean of eight" not in Report(results, EIGHT[:7]).headings()


def test_rows_of_any_metrics(tmp_path):
    panoptic = {"coco_panoptic/PQ": 20.5, "coco_panoptic/SQ": 70.25, "coco_panoptic/RQ": float("nan"), "name": "x"}
    semantic = {"aAcc": 80.0, "mIoU": 33.125, "mIoU_seen": float("nan")}
    measured = {"ADE20K-panoptic": panoptic, "A-150": semantic}
    figures = {"ADE150 PQ": 28.1, "ADE150 mIoU": 36.8}
    report = Report(
        results_of(tmp_path / "row.json", measured, row="FISA", figures=figures),
        ["ADE20K-panoptic", "A-150", "PC-59"],
    )
    assert report.rows() == {
        "PQ, measured here": ["20.50", "", ""],
        "PQ, printed (FISA)": ["28.1", "", ""],
        "SQ, measured here": ["70.25", "", ""],
        "mIoU, measured here": ["", "33.12", ""],
        "mIoU, printed (FISA)": ["", "36.8", ""],
        "pAcc, measured here": ["", "80.00", ""],
        "images": ["7", "7", ""],
    }
    console = Console(file=io.StringIO(), width=200)
    report.show(console)
    shown = console.file.getvalue()
    assert "28.1" in shown and "33.12" in shown and "were not measured here" in shown

    markdown = report.markdown().splitlines()
    table = [cells(line) for line in markdown if line.startswith("|")]
    assert ["PQ, printed (FISA)", "28.1", "", ""] in table and all(len(row) == 4 for row in table)
    assert any("seed 3" in line and "torch 2.0" in line for line in markdown)
    rows = {(row["benchmark"], row["metric"]): row for row in csv.DictReader(io.StringIO(report.csv()))}
    assert rows["ADE20K-panoptic", "PQ"]["measured"] == "20.5" and rows["ADE20K-panoptic", "PQ"]["printed"] == "28.1"
    assert rows["ADE20K-panoptic", "RQ"]["measured"] == "" and rows["A-150", "pAcc"]["printed"] == ""


def test_no_figure_is_cut_where_a_terminal_is_narrow(tmp_path):
    names = list(BENCHMARKS)
    report = Report(results_of(tmp_path / "row.json", {name: {"mIoU": 12.25} for name in names}), names)
    for width in (60, 100, 300):
        console = Console(file=io.StringIO(), width=width)
        report.show(console)
        shown = console.file.getvalue()
        assert shown.count("12.25") == len(names) and all(name in shown for name in names)


def test_without_a_paper_there_is_no_printed_row(tmp_path):
    report = Report(results_of(tmp_path / "row.json", {"A-150": {"mIoU": 1.0}}), ["A-150"])
    assert list(report.rows()) == ["mIoU, measured here", "images"]


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "folder/results.json"
    write_whole(path, "old")
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(WriteError, match="results.json cannot be written: no space left"):
        write_whole(path, "new and longer")
    assert path.read_text() == "old"


def test_results_are_read_again_as_they_were_written(tmp_path):
    path = tmp_path / "row.json"
    results_of(path, {"A-150": {"mIoU": 1.0, "mAcc": float("nan")}})
    again = Results(path)
    assert again.measured["A-150"]["metrics"] == {"mIoU": 1.0, "mAcc": None}
    assert again.remaining(["PC-59", "A-150", "A-847"]) == ["PC-59", "A-847"]


def test_two_evaluations_of_one_model_keep_each_other_s_results(tmp_path):
    path = tmp_path / "row.json"
    first, second = results_of(path, {}), results_of(path, {})
    second.begin_run(command=["test.py", "PC-59"], seed=3)
    first.add("A-150", metrics={"mIoU": 1.0})
    second.add("PC-59", metrics={"mIoU": 2.0})
    first.add("A-847", metrics={"mIoU": 3.0})
    again = Results(path)
    assert {name: one["metrics"]["mIoU"] for name, one in again.measured.items()} == {
        "A-150": 1.0, "PC-59": 2.0, "A-847": 3.0,
    }  # fmt: skip
    commands = {name: again.runs[one["run"]]["command"] for name, one in again.measured.items()}
    assert commands == {"A-150": ["test.py"], "PC-59": ["test.py", "PC-59"], "A-847": ["test.py"]}
    other = Results(path)
    other.measured, other.about = {}, {**ABOUT, "checkpoint_sha256": "cd" * 32}  # began before the file was there
    before = path.read_text()
    with pytest.raises(ValueError, match="the checkpoint row.pth has changed"):
        other.add("PAS-20", metrics={"mIoU": 4.0})
    assert path.read_text() == before


def test_what_has_a_result_remains_while_its_label_maps_are_wanted(tmp_path):
    results, maps = results_of(tmp_path / "row.json", {"A-150": {}}), tmp_path / "maps"
    maps.mkdir()
    assert results.remaining(["A-150"]) == [] and results.remaining(["A-150"], [str(maps)]) == ["A-150"]
    results.add("A-150", metrics={}, folders=[str(maps)])
    assert results.remaining(["A-150"], [str(maps)]) == []
    results.add("A-150", metrics={}, folders=[str(tmp_path)])
    assert results.remaining(["A-150"], [str(maps), str(tmp_path)]) == []
    maps.rmdir()
    assert results.remaining(["A-150"], [str(maps)]) == ["A-150"]


def test_names_of_the_training_data_are_known_without_the_data(repository):
    config = Config.fromfile(repository / "configs/hclip/hclip_vitb16_coco-stuff.py")
    assert tuple(training_names(config)) == load_vocabulary("coco_stuff_171").titles
    config = Config.fromfile(repository / "configs/hclip/hclip_tiny_scenes.py")
    assert tuple(training_names(config)) == TRAIN_NAMES
    assert training_names(Config(dict(model=dict()))) is None


def test_a_config_of_one_benchmark_without_a_checkpoint(repository, coco_stuff, tmp_path):
    """CLIPtrase's configs have CLIP's weights alone; their figures are of all benchmarks, whatever is asked for."""
    weights = tmp_path / "clip.pt"
    weights.write_bytes(b"weights")

    def using(*names):
        config = Config.fromfile(repository / "configs/cliptrase/cliptrase_vitb16_224_coco-object.py")
        config.model.backbone.clip.pretrained, config.work_dir = str(weights), str(tmp_path)
        use_benchmarks(config, None, names, coco_stuff.parent)
        return config

    config = using("COCO-Stuff", "COCO-Object")
    about = config.test_cfg.about
    # results of COCO-Object may be there already, to be reported again
    assert using("COCO-Stuff").test_cfg.about.paper == about.paper
    printed = printed_figures(about.paper)
    assert len(printed) == 4 * 9
    for metric, figure in dict(pAcc=50.08, mAcc=62.5, fwIoU=38.19, mIoU=43.56).items():
        assert printed["COCO-Object", metric] == Printed("COCO-Object", figure)
    assert about.checkpoint == str(weights)
    assert about.checkpoint_sha256 == hashlib.sha256(b"weights").hexdigest()
    assert config.test_cfg.results == str(tmp_path / "benchmarks/clip.json")
    assert not any("Printed" in hook.type for hook in config.custom_hooks)
    assert config.test_cfg.training_names is None
