"""The ablation: configs of its rows, results that are trusted or not, going on after interruption, the report."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time

import pytest
from hclip_tools.ablate import main
from miniature import REPOSITORY
from mmengine.config import Config
from processes import Forked

from hclip_mmseg.ablation import report, results, runs
from hclip_mmseg.ablation.jobs import Job, Settings, job_config
from hclip_mmseg.ablation.results import code_digest, fingerprint, trusted_result
from hclip_mmseg.ablation.rows import best_factors, chosen_rows, search_jobs
from hclip_mmseg.ablation.run import Ablation, core_shares
from hclip_mmseg.ablation.runs import Runs
from hclip_mmseg.costs.parameters import count_parameters

TABLE = REPOSITORY / "configs/ablation/tiny_scenes.py"
BASE = f"""
_base_ = ["{REPOSITORY / "configs/hclip/hclip_tiny_scenes.py"}"]
geometry = dict(
    embed_dim=32,
    vision_cfg=dict(image_size=64, layers=4, width=48, patch_size=8, head_width=16),
    text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=4))
model = dict(
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(clip=dict(_delete_=True, model=geometry), guidance_layers=(0, 1), guidance_channels=(16, 8)),
    decode_head=dict(text_channels=32, dim=16, layers=1, window=4, appearance_dim=16, text_guidance_dim=16,
                     class_length=16, guidance_channels=(16, 8)),
    train_cfg=dict(sampled_names=6), test_cfg=dict(window=64, clip_resolution=64, class_maps=1024))
scenes = dict(image_size=64, num_objects=(1, 2), radius=(8.0, 14.0))
train_dataloader = dict(batch_size=1, num_workers=0, persistent_workers=False, dataset=scenes)
val_dataloader = dict(batch_size=1, num_workers=0, dataset=scenes)
"""
PLOT = report.plot
TRAIN = runs.train_command
ROWS = """
base = "base.py"
rows = {
    "freeze": dict(title="Frozen", backbone=dict(adapter=None, train_positions=False)),
    "lora": dict(title="Low rank", backbone=dict(adapter=dict(type="LoRA", rank=2)), config="paper.py"),
    "hclip": dict(title="H", backbone=dict(adapter=dict(type="POP", block_size=16))),
}
claims = [("H-CLIP above LoRA", "hclip", "lora"), ("LoRA above Freeze", "lora", "freeze")]
"""
# stands for tools/train.py: the held-out mIoU is 10 for row lora, 20 for hclip, plus the seed
TRAINER = """
import json, os, pathlib, re, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--work-dir") + 1])
text = (folder / "config.py").read_text()
log = folder.parents[1] / "started"
log.write_text((log.read_text() if log.exists() else "") + str(folder.relative_to(folder.parents[1])) + "\\n")
if (folder.parents[1] / "broken").exists() and "LoRA" in text:
    sys.exit("it broke")
seed = int(re.search(r"randomness ?= ?dict\\(\\s*seed=([0-9]+)", text).group(1))
held_out = (10 if "LoRA" in text else 20 if "POP" in text else 5) + seed
metrics = dict(mIoU=50.0, mIoU_seen=40.0 - seed, mIoU_unseen=held_out)
(folder / "summary.json").write_text(json.dumps(dict(
    metrics=metrics, validations=[dict(iteration=2, metrics=metrics)], step_seconds=0.5, peak_memory=2**30,
    loss=dict(iteration=[1, 2], value=[2.0, 1.0]), energy_drift=dict(image=0.01, text=-0.02),
    seen=dict(cores=len(os.sched_getaffinity(0)), threads=int(os.environ["OMP_NUM_THREADS"])))))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small table and a trainer that takes no time."""
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "table.py").write_text(ROWS.replace("base.py", str(tmp_path / "base.py")))
    (tmp_path / "paper.py").write_text("paper = dict(mIoU={'A-150': 28.6})\n")
    (tmp_path / "trainer.py").write_text(TRAINER)
    monkeypatch.setattr(runs, "train_command", lambda: [sys.executable, str(tmp_path / "trainer.py")])
    monkeypatch.setattr(report, "plot", lambda *arguments: None)
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


def ablate(*arguments: object) -> int:
    try:
        main(["--table", "table.py", "--out", "out", "--max-iters", "2", *map(str, arguments)])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def started(folder) -> list[str]:
    file = folder / "out/started"
    runs = sorted(file.read_text().split()) if file.exists() else []
    file.unlink(missing_ok=True)
    return runs


def test_every_row_of_the_papers_tables_is_there():
    table = Config.fromfile(TABLE)
    for row, own in table.rows.items():
        full = Config.fromfile(REPOSITORY / own.config)
        tiny = job_config(table, Job(row, 0), Settings(REPOSITORY))
        adapters = [cfg.model.backbone.adapter for cfg in (full, tiny)]
        if adapters[0] is None:
            assert adapters[1] is None
            continue
        assert adapters[0].type == adapters[1].type
        for key in ("rank", "length", "bottleneck", "block_size"):
            if key in adapters[0]:
                assert math.ceil(adapters[0][key] / 4) == adapters[1][key], (row, key)
        for key in ("orthogonal", "relation", "projections"):
            if key in adapters[0]:
                assert adapters[0][key] == adapters[1].get(key), (row, key)
        assert not full.model.backbone.get("train_positions", False), "as the published code"
    titles = {Config.fromfile(REPOSITORY / own.config).paper.row for own in table.rows.values()}
    assert {"Freeze", "LoRA", "OFT", "VPT", "Adapter", "LST", "SSF", "POP only", "DCRC only", "q=64", "q=256"} < titles
    assert {"no orthogonality", "orthogonal in both towers", "H-CLIP, ViT-B/16", "CAT-Seg, ViT-B/16"} < titles
    assert all(row in table.rows for _, *pair in table.claims for row in pair)


def test_rows_train_the_same_part_of_the_tiny_clip():
    """A projection of the tiny CLIP is 1/16 of ViT-B/16's, there are 6 blocks for 12: adapters are 1/32."""
    table = Config.fromfile(TABLE)
    for row in ("lora", "vpt", "adapter", "pop"):
        full = count_parameters(Config.fromfile(REPOSITORY / table.rows[row].config))["adapters"]
        tiny = count_parameters(job_config(table, Job(row, 0), Settings(REPOSITORY)))["adapters"]
        assert tiny * 32 == pytest.approx(full, rel=0.02), row


def test_the_config_of_a_run(folder):
    table = Config.fromfile("table.py")
    options = {"log_level": "ERROR", "randomness.deterministic": True}
    settings = Settings(folder, max_iters=90, scenes=5, options=options)
    cfg = job_config(table, Job("lora", 7, 0.3), settings)
    assert cfg.model.backbone.adapter == dict(type="LoRA", rank=2)
    assert cfg.train_cfg.max_iters == 90 and cfg.train_cfg.val_interval == 30
    base = Config.fromfile("base.py")
    cosine, shrunk = base.param_scheduler[-1], cfg.param_scheduler[-1]
    assert shrunk.end == 90 and shrunk.T_max == round(cosine.T_max * 90 / base.train_cfg.max_iters)
    rates, scaled = (c.optim_wrapper.paramwise_cfg.custom_keys for c in (base, cfg))
    for key in ("backbone.adapter", "backbone.adapter.relation"):
        assert rates[key].lr_mult * 0.3 == pytest.approx(scaled[key].lr_mult)
    assert rates["backbone.image_tower"] == scaled["backbone.image_tower"]
    assert cfg.val_dataloader.dataset.length == 5 and cfg.log_level == "ERROR"
    assert cfg.randomness == dict(seed=7, deterministic=True)
    kinds = [hook["type"] for hook in cfg.custom_hooks]
    assert "mmseg.SummaryHook" in kinds and "ComparisonHook" not in kinds
    found = job_config(table, Job("lora", 7, search=True), Settings(folder, max_iters=90, search_iters=30))
    assert found.train_cfg.max_iters == 30
    assert found.val_dataloader.dataset.get("seed", 0) != cfg.val_dataloader.dataset.get("seed", 0)


def test_only_whole_results_of_that_config_are_trusted(folder, monkeypatch):
    table = Config.fromfile("table.py")
    own, other = (fingerprint(job_config(table, Job("lora", seed), Settings(folder))) for seed in (0, 1))
    assert own != other
    result = folder / "result.json"
    assert trusted_result(folder, own) is None
    for text in ("", '{"fingerprint": "', "[1]", json.dumps({"fingerprint": other})):
        result.write_text(text)
        assert trusted_result(folder, own) is None
    result.write_text(json.dumps({"fingerprint": own, "row": "lora"}))
    assert trusted_result(folder, own)["row"] == "lora"
    monkeypatch.setattr(results.record, "versions", lambda: {"torch": "0.1"})
    assert fingerprint(job_config(table, Job("lora", 0), Settings(folder))) != own


def test_weights_belong_to_the_fingerprint(folder):
    (folder / "clip.pt").write_bytes(b"one")
    cfg = job_config(Config.fromfile("table.py"), Job("lora", 0), Settings(folder))
    (folder / "clip.json").write_text("{}")
    cfg.model.backbone.clip.update(pretrained=str(folder / "clip.pt"), model=str(folder / "clip.json"))
    found = {fingerprint(cfg)}
    (folder / "clip.pt").write_bytes(b"two")
    found.add(fingerprint(cfg))
    (folder / "clip.json").write_text("[]")
    found.add(fingerprint(cfg))
    cfg.model.generator = dict(init_cfg=dict(type="Pretrained", checkpoint=str(folder / "proposals.pth")))
    for content in (b"some", b"others"):
        (folder / "proposals.pth").write_bytes(content)
        found.add(fingerprint(cfg))
    assert len(found) == 5


def test_runs_are_not_repeated_and_failures_do_not_stop_the_rest(folder, monkeypatch):
    (folder / "out").mkdir()
    (folder / "out/broken").touch()
    assert ablate("--seeds", 1) == 1
    assert started(folder) == ["freeze/seed_0", "hclip/seed_0", "lora/seed_0"]
    assert "| Low rank |" not in (folder / "out/results.md").read_text()
    (folder / "out/broken").unlink()
    assert ablate("--seeds", 1) == 0
    assert started(folder) == ["lora/seed_0"]
    assert ablate("--seeds", 1) == 0 and started(folder) == []
    assert ablate("--seeds", 2, "--rows", "hclip") == 0
    assert started(folder) == ["hclip/seed_1"]
    assert ablate("--seeds", 1, "--rows", "hclip", "--cfg-options", "log_level=ERROR") == 0
    assert started(folder) == ["hclip/seed_0"], "another config, so what was there may not be trusted"


def test_an_interrupted_ablation_goes_on(folder, monkeypatch):
    original = Runs.run
    calls = []

    def interrupted(self, job, *arguments):
        calls.append(job)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, job, *arguments)

    monkeypatch.setattr(Runs, "run", interrupted)
    assert ablate("--seeds", 2) == 1
    done = started(folder)
    assert len(done) == 2
    assert json.loads((folder / "out/results.json").read_text())["rows"], "what was done is reported"
    monkeypatch.setattr(Runs, "run", original)
    assert ablate("--seeds", 2) == 0
    assert len(started(folder)) == 6 - len(done)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be set on this system")
def test_several_at_a_time_are_pinned(folder, monkeypatch):
    cores = sorted(os.sched_getaffinity(0))
    shares = [cores[:1]] * 2  # two workers even where there is one core
    ablation = Ablation(Config.fromfile("table.py"), Settings(folder / "out", max_iters=2), shares, None)
    found = ablation.results([Job("lora", seed) for seed in range(3)])
    for result in found.values():
        assert result["seen"] == {"cores": 1, "threads": 1} == {key: result[key] for key in ("cores", "threads")}
    with pytest.raises(ValueError, match="more than the .* cores"):
        core_shares(len(cores) + 1)


def test_the_search_is_the_same_for_all_and_sets_the_rate(folder, monkeypatch):
    jobs = search_jobs(Config.fromfile("table.py"), ["freeze", "lora", "hclip"], (0.1, 1.0))
    assert [(job.row, job.factor) for job in jobs] == [
        ("lora", 0.1), ("lora", 1.0), ("hclip", 0.1), ("hclip", 1.0),
    ]  # fmt: skip
    scores = dict(zip(jobs, (3.0, 2.0, 1.0, math.nan), strict=True))
    found = {job: dict(metrics={"mIoU_seen": score}) for job, score in scores.items()}
    assert best_factors(found)[0] == {"lora": 0.1, "hclip": 0.1}
    assert ablate("--seeds", 1, "--search", "--factors", 0.5, 2) == 0
    runs = json.loads((folder / "out/results.json").read_text())
    assert set(runs["search"]["lora"]) == {"0.5", "2"}
    (run,) = runs["rows"]["lora"]["runs"]
    assert run["factor"] == 0.5 and run["code"] == code_digest()
    assert "| row | x 0.5 | x 2 |" in (folder / "out/results.md").read_text()
    assert "| Low rank | **-960.0** (end) | -960.0 |" in (folder / "out/results.md").read_text(), "the best"


def test_an_interrupted_search_hides_no_result_and_trains_no_row_at_an_unsearched_rate(folder, monkeypatch):
    assert ablate("--seeds", 1, "--search", "--factors", 0.5, 2) == 0
    before = json.loads((folder / "out/results.json").read_text())["rows"]
    assert before["lora"]["runs"][0]["factor"] == 0.5
    started(folder)
    original = Runs.run

    def interrupted(self, job, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Runs, "run", interrupted)
    assert ablate("--seeds", 1, "--search", "--factors", 0.5, 2, 4) == 0
    assert json.loads((folder / "out/results.json").read_text())["rows"] == before
    monkeypatch.setattr(Runs, "run", original)
    (folder / "out/search/broken").touch()
    assert ablate("--seeds", 2, "--search", "--factors", 0.5, 2, 4) == 1
    assert started(folder) == ["freeze/seed_1", "hclip/seed_1"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_terminated_ablation_ends_what_it_runs(folder):
    (folder / "trainer.py").write_text(
        "import os, pathlib, time\npathlib.Path('child').write_text(str(os.getpid()))\ntime.sleep(300)\n"
    )
    arguments = ["--table", "table.py", "--out", "out", "--max-iters", "2", "--seeds", "1", "--rows", "lora"]
    log, child = folder / "log", folder / "child"
    process = Forked(lambda: main(arguments), log)
    while process.poll() is None and not (child.is_file() and child.read_text()):
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    process.wait()
    assert "interrupted" in log.read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.read_text()), 0)


def test_runs_made_in_different_ways_are_told_apart():
    def run(seed, **conditions):
        return dict(row="lora", seed=seed, **{**dict(cores=1, threads=1, code="a"), **conditions})

    assert report.conditions({"lora": [run(0), run(1)]}) == []
    (told,) = report.conditions({"lora": [run(0), run(1, cores=2)]})
    assert "1 cores with 1 threads, 2 cores" in told
    (told,) = report.conditions({"lora": [run(0), run(1, code="b")]})
    assert "a: lora/0; b: lora/1" in told


def test_the_report(folder, monkeypatch):
    monkeypatch.setattr(report, "plot", PLOT)
    assert ablate("--seeds", 3) == 0
    text = (folder / "out/results.md").read_text()
    # seeds 0, 1, 2: mean + 1, standard deviation 1
    assert "| Low rank | 3 |" in text and "| 39.0 ± 1.0 | 11.0 ± 1.0 | 0.50 | 1.00 |" in text
    assert "| 28.6 |" in text, "the paper's figure stands in its column"
    assert "| H-CLIP above LoRA | 10.0 ± 0.0 | 3 | holds |" in text
    assert "| LoRA above Freeze | 5.0 ± 0.0 | 3 | holds |" in text
    rows = json.loads((folder / "out/results.json").read_text())["rows"]
    assert rows["lora"]["held_out"] == {"mean": 11.0, "spread": 1.0}
    assert rows["lora"]["trained"] == 4 * 4 * 2 * 2 * (48 + 32)  # layers, projections, A and B, rank, widths
    for name in ("held_out_against_train", "drift_against_held_out", "curves"):
        assert (folder / f"out/{name}.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "above, below, verdict",
    [
        ([5.0, 6.0, 7.0], [1.0, 2.0, 3.0], "holds"),
        ([1.0, 2.0, 3.0], [5.0, 6.1, 7.0], "does not hold"),
        ([1.0, 9.0, 3.0], [2.0, 5.0, 5.0], "undecided"),
        ([0.2, 1.0, 1.8], [0.0, 0.0, 0.0], "undecided"),  # 2.2 standard errors, and with three seeds 4.3 are needed
        ([0.5, 1.0, 1.5], [0.0, 0.0, 0.0], "undecided"),
        ([0.7, 1.0, 1.3], [0.0, 0.0, 0.0], "holds"),
        ([9.0], [1.0], "undecided"),
    ],
)
def test_verdicts(above, below, verdict):
    def of(values):
        return [dict(seed=seed, metrics={"mIoU_unseen": value}) for seed, value in enumerate(values)]

    judged = report.judge(("?", "a", "b"), {"a": of(above), "b": of(below)})
    assert judged["verdict"] == verdict
    assert judged["difference"] == pytest.approx(sum(above) / len(above) - sum(below) / len(below))
    assert report.judge(("?", "a", "c"), {"a": of(above)}) is None


def test_bad_input(folder, monkeypatch, capsys):
    for arguments, message in (
        (("--rows", "lorra"), "no rows ['lorra'] in"),
        (("--seeds", 0), "--seeds must be at least 1"),
        (("--jobs", 1000), "more than the"),
        (("--max-iters", 0), "at least 1 iteration"),
        (("--search-iters", -1), "at least 1 iteration"),
    ):
        assert ablate(*arguments) == 2
        assert message in capsys.readouterr().err
    assert started(folder) == []
    assert chosen_rows(Config.fromfile("table.py"), ["hclip", "freeze"]) == ["freeze", "hclip"]


def test_a_real_run(folder, monkeypatch, capsys):
    monkeypatch.setattr(runs, "train_command", TRAIN)
    assert ablate("--seeds", 1, "--rows", "lora", "--scenes", 1, "--threads", 1) == 0
    result = json.loads((folder / "out/lora/seed_0/result.json").read_text())
    assert result["iterations"] == 2 and len(result["loss"]["value"]) == 2
    assert [validation["iteration"] for validation in result["validations"]] == [1, 2]
    assert result["metrics"] == result["validations"][-1]["metrics"] and "mIoU_unseen" in result["metrics"]
    assert result["step_seconds"] > 0 and result["peak_memory"] > 2**26  # 83 MiB on a GPU
    assert result["energy_drift"]["text"] != 0
    assert "| Low rank | 1 |" in capsys.readouterr().out
