"""The hooks in real runs on rendered scenes: DCRC once a step, vocabularies that follow, a table at the end."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from tiny_models import HEAD, PREPROCESSOR, backbone_config, clip_geometry, pop_config

from hclip_mmseg.adapters import POP
from hclip_mmseg.clip import build_clip
from hclip_mmseg.demo_assets.scenes import SCENE_CLASSES, TRAIN_NAMES

LIST_OF_SCENES = dict(
    type="SceneDataset",
    image_size=64,
    num_objects=(1, 2),
    radius=(8.0, 14.0),
    pipeline=[dict(type="RenderScene"), dict(type="PackSegInputs")],
)


@HOOKS.register_module(force=True)
class Notebook(Hook):
    """Writes down what it sees of the model."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.vocabularies: list[tuple[str, int]] = []
        self.folded: list[bool] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.vocabularies.append(("train", len(runner.model.vocabulary)))

    def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.vocabularies.append(("val", len(runner.model.vocabulary)))
        assert not torch.is_grad_enabled()
        with_folded = []
        adapter = runner.model.backbone.adapter
        if adapter is not None:
            handle = adapter.adapted_weight
            adapter.adapted_weight = lambda *arguments: with_folded.append(arguments) or handle(*arguments)
            runner.model.backbone.projections("text")
            del adapter.adapted_weight
        self.folded.append(not with_folded)


def run_config(work_dir, iterations=3, val_interval=None, backbone=None, hooks=(), **changes) -> Config:
    """A run of one scene a step; names are sampled to keep a step short. No validation without an interval."""

    def loader(split, length):
        kind = "InfiniteSampler" if split == "train" else "DefaultSampler"
        return dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type=kind, shuffle=False),
            dataset=dict(LIST_OF_SCENES, split=split, length=length),
        )

    config = dict(
        default_scope="mmseg",
        custom_imports=dict(imports=["hclip_mmseg"]),
        model=dict(
            type="OpenVocabSegmentor",
            data_preprocessor=PREPROCESSOR,
            backbone=backbone or backbone_config(),
            text_encoder=dict(type="TextEncoderNeck"),
            decode_head=HEAD,
            train_cfg=dict(sampled_names=6),
            test_cfg=dict(mode="whole", window=64, clip_resolution=64, class_maps=1024),
        ),
        train_dataloader=loader("train", 4),
        val_dataloader=loader("val", 2),
        val_evaluator=dict(type="OpenVocabIoUMetric", iou_metrics=["mIoU"]),
        train_cfg=dict(
            type="IterBasedTrainLoop",
            max_iters=iterations,
            val_interval=val_interval or iterations,
            val_begin=1 if val_interval else iterations + 1,
        ),
        val_cfg=dict(type="ValLoop"),
        optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-2)),
        default_hooks=dict(
            checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1000, save_last=False),
            logger=dict(type="LoggerHook", interval=1000, log_metric_by_epoch=False),
        ),
        custom_hooks=[dict(type="DCRCHook", interval=0), dict(type="VocabularyHook"), dict(type="Notebook"), *hooks],
        visualizer=dict(type="OpenVocabVisualizer", vis_backends=[dict(type="LocalVisBackend")]),
        log_processor=dict(by_epoch=False),
        log_level="ERROR",
        randomness=dict(seed=0, deterministic=True),
        work_dir=str(work_dir),
        experiment_name=f"{work_dir.parent.name} {work_dir.name}",
    )
    return Config({**config, **changes})


def train(config: Config) -> Runner:
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def notebook(runner: Runner) -> Notebook:
    return next(hook for hook in runner.hooks if isinstance(hook, Notebook))


def weights(runner: Runner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


@pytest.fixture(scope="module")
def clip_weights(tmp_path_factory):
    """Random weights in a file, so that two runs begin with the same CLIP."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("clip") / "clip.pt"
    torch.save(build_clip(clip_geometry()).state_dict(), path)
    return path


def scalars(work_dir) -> list[dict]:
    (file,) = work_dir.rglob("scalars.json")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_relations_are_computed_once_a_step(tmp_path, monkeypatch):
    refreshed, computed = [], []
    refresh = POP.refresh
    monkeypatch.setattr(POP, "refresh", lambda self: refreshed.append(True) or refresh(self))
    config = run_config(tmp_path / "run", iterations=3)
    runner = Runner.from_cfg(config)
    runner.model.backbone.adapter.relation.register_forward_hook(lambda *_: computed.append(True))
    runner.train()
    assert len(refreshed) == 3
    assert len(computed) == 3, "both towers should share what the hook computed"


def test_validation_leaves_training_where_it_was(tmp_path):
    without = train(run_config(tmp_path / "without", iterations=4))
    between = train(run_config(tmp_path / "with", iterations=4, val_interval=1))
    assert notebook(between).folded == [True] * 8, "the adapters were not folded before validation"
    assert not notebook(without).folded
    start = Runner.from_cfg(run_config(tmp_path / "start"))
    expected = weights(without)
    for name, value in weights(between).items():
        assert torch.equal(value, expected[name]), name
    assert not torch.equal(weights(start)["backbone.adapter.tensor"], expected["backbone.adapter.tensor"])


def test_the_vocabulary_follows_the_dataset(tmp_path):
    runner = train(run_config(tmp_path / "run", iterations=4, val_interval=2))
    train_step, val_step = ("train", len(TRAIN_NAMES)), ("val", len(SCENE_CLASSES))
    assert train_step[1] < val_step[1]
    assert notebook(runner).vocabularies == [*[train_step] * 2, *[val_step] * 2] * 2
    assert runner.model.vocabulary == tuple(TRAIN_NAMES)


def test_a_dataset_without_classes_is_refused(tmp_path):
    runner = Runner.from_cfg(run_config(tmp_path / "run"))
    dataset = runner.build_dataloader(runner._train_dataloader).dataset
    del dataset._metainfo["classes"]

    class Loaded:
        train_dataloader = type("Loader", (), {"dataset": dataset})
        model = runner.model

    hook = next(hook for hook in runner.hooks if type(hook).__name__ == "VocabularyHook")
    with pytest.raises(ValueError, match="SceneDataset has no 'classes' in its metainfo"):
        hook.before_train(Loaded)


@pytest.mark.parametrize("towers", [("image", "text"), ("image",), ("text",)])
def test_error_and_drift_are_logged(tmp_path, towers):
    chosen = {tower: tower in towers for tower in ("image", "text")}
    adapter = pop_config(**chosen) | dict(orthogonal=("text",) if "text" in towers else ())
    config = run_config(tmp_path / "run", iterations=4, backbone=backbone_config(adapter=adapter))
    config.custom_hooks[0].interval = 2
    train(config)
    entries = [entry for entry in scalars(tmp_path / "run") if any(name.startswith("adapter/") for name in entry)]
    assert [entry["step"] for entry in entries] == [2, 4]
    for entry in entries:
        assert {name for name in entry if name.startswith("adapter/")} == {
            f"adapter/{kind}_{tower}"
            for kind in ("orthogonality_error", "energy_drift", "energy_drift_of_rows")
            for tower in towers
        }
        if "text" in towers:
            assert entry["adapter/orthogonality_error_text"] <= 1e-5
            assert abs(entry["adapter/energy_drift_text"]) <= 1e-5
        if "image" in towers:
            assert entry["adapter/orthogonality_error_image"] > 1e-4
            assert abs(entry["adapter/energy_drift_image"]) > 1e-6
    assert entries[0] != entries[1]


def test_logging_leaves_training_where_it_was(tmp_path):
    quiet = weights(train(run_config(tmp_path / "quiet")))
    config = run_config(tmp_path / "logged")
    config.custom_hooks[0].interval = 1
    for name, value in weights(train(config)).items():
        assert torch.equal(value, quiet[name]), name


def test_a_run_without_the_hook_computes_the_same(tmp_path):
    """A model used without the DCRC hook computes the relations when they are needed."""
    hooked = weights(train(run_config(tmp_path / "hooked", val_interval=2)))
    config = run_config(tmp_path / "bare", val_interval=2)
    config.custom_hooks = config.custom_hooks[1:]
    for name, value in weights(train(config)).items():
        assert torch.equal(value, hooked[name]), name


def test_weights_averaged_by_another_hook_are_those_that_are_validated(tmp_path):
    """MMEngine's EMAHook exchanges weights before validation and back after it, leaving no trace in them."""
    averaging = dict(type="EMAHook", momentum=0.5)
    config = run_config(tmp_path / "run", iterations=3, val_interval=3, hooks=[averaging, dict(type="Probe")])
    runner = train(config)
    (probe,) = (hook for hook in runner.hooks if isinstance(hook, Probe))
    fresh = Runner.from_cfg(run_config(tmp_path / "fresh")).model.eval()
    fresh.set_vocabulary(SCENE_CLASSES)
    runner.model.eval().set_vocabulary(SCENE_CLASSES)
    found = {"in validation": probe.seen, "afterwards": look(runner.model)}
    states = {"in validation": probe.state, "afterwards": runner.model.state_dict()}
    for moment, scores in found.items():
        fresh.load_state_dict(states[moment])
        torch.testing.assert_close(scores, look(fresh), msg=moment)
    assert (found["in validation"] - found["afterwards"]).abs().max() > 1e-3


@torch.no_grad()
def look(model) -> torch.Tensor:
    """Scores of an image of noise."""
    image = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    return model.score(image.to(next(model.parameters()).device)).scores


@HOOKS.register_module(force=True)
class Probe(Hook):
    """Keeps the weights and the scores of the last validation."""

    priority = "LOWEST"

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.state = weights(runner)
        self.seen = look(runner.model)


def test_the_table_at_the_end(tmp_path, capsys):
    columns = {"train names": "mIoU_seen", "held-out names": "mIoU_unseen", "all": "mIoU"}
    comparison = dict(type="ComparisonHook", columns=columns, frozen_name="frozen", trained_name="trained")
    runner = train(run_config(tmp_path / "run", iterations=2, val_interval=2, hooks=[comparison]))
    saved = json.loads((tmp_path / "run/comparison.json").read_text())
    assert list(saved) == ["frozen", "trained"]
    assert all(list(row) == list(columns) for row in saved.values())
    metrics = runner.message_hub.log_scalars
    assert saved["trained"]["all"] == pytest.approx(metrics["val/mIoU"].current())
    shown = capsys.readouterr().out
    assert "held-out names" in shown and "frozen" in shown and f"{saved['trained']['all']:.1f}" in shown

def test_the_frozen_row_is_plain_clip(tmp_path, clip_weights):
    """Compared with a run of its own: plain CLIP, cosines, evaluated on the same scenes."""
    clip = dict(model=clip_geometry(), pretrained=str(clip_weights))
    columns = {"all": "mIoU"}
    comparison = dict(type="ComparisonHook", columns=columns)
    trained = run_config(
        tmp_path / "run", iterations=1, backbone=backbone_config(clip=clip), hooks=[comparison]
    )
    train(trained)
    saved = json.loads((tmp_path / "run/comparison.json").read_text())
    assert list(saved) == ["frozen CLIP"], "nothing was validated, so there is no second row"
    backbone = backbone_config(clip=clip, adapter=None, guidance_layers=(), guidance_channels=(), residual="value")
    plain = run_config(tmp_path / "plain", backbone=backbone)
    plain.model.decode_head = dict(type="CosineHead", text_channels=32)
    metrics = Runner.from_cfg(plain).val()
    assert saved["frozen CLIP"]["all"] == pytest.approx(metrics["mIoU"]) and metrics["mIoU"] > 0
