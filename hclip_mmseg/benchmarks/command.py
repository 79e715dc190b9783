"""From the command line's words to a config whose test is the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmseg.registry import DATASETS
from torch import nn

from hclip_mmseg.apis.checks import innermost_datasets
from hclip_mmseg.benchmarks.choice import ReadyBenchmark, choose, ready
from hclip_mmseg.benchmarks.results import Results, settings_of
from hclip_mmseg.files.checkpoints import find_checkpoint
from hclip_mmseg.files.checksums import sha256_of
from hclip_mmseg.files.paths import locate
from hclip_mmseg.models.open_vocab_model import OpenVocabModel, is_open_vocab


def use_benchmarks(
    cfg: Config,
    checkpoint: str | Path | None,
    words: Sequence[str],
    data_root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    folders: Sequence[str | Path] = (),
) -> tuple[ReadyBenchmark, ...]:
    """Make benchmarks the test of a config.

    Args:
        cfg: a config as its file has it; it is changed in place. What it may say about benchmarks, see
            :func:`~hclip_mmseg.benchmarks.choice.ready`.
        checkpoint: what will be evaluated; None is CLIP's own weights, for a model without training. Results go to
            ``<work_dir>/benchmarks/<its name>.json`` and so on; that folder becomes the work_dir, so that a training's
            records beside it stay as they are.
        words: names of benchmarks, or 'all', or 'found'.
        data_root: the folder of all data.
        options: settings of the command line; those of ``test_dataloader`` and ``test_evaluator`` hold for each.
        folders: where label maps and images are to be written; what has a result but is not in them is evaluated
            again.

    Returns:
        The benchmarks.

    Raises:
        KeyError, ValueError, FileNotFoundError: see :mod:`hclip_mmseg.benchmarks.choice`, and
            :class:`~hclip_mmseg.benchmarks.results.Results` for results of another model.
    """
    chosen = ready(choose(words, data_root, gives_panoptic(cfg)), data_root, options, cfg.to_dict())
    weights, file = _weights(cfg, checkpoint)
    about = dict(
        config=str(cfg.filename),
        checkpoint=weights,
        checkpoint_sha256=None if file is None else sha256_of(file),
        settings=settings_of(cfg),
        paper=cfg.to_dict().get("paper") or {},
        style=cfg.get("benchmark_style"),
    )
    cfg.work_dir = str(Path(cfg.work_dir) / "benchmarks")
    path = Path(cfg.work_dir) / f"{Path(weights).stem}.json"
    Results(path).go_on_with(about, {benchmark.name: benchmark.settings for benchmark in chosen})
    cfg.test_dataloader, cfg.test_evaluator = chosen[0].dataloader, chosen[0].evaluator
    cfg.test_cfg = dict(
        type="mmseg.BenchmarkLoop",
        benchmarks=[_settings_in_loop(benchmark) for benchmark in chosen],
        results=str(path),
        about=about,
        training_names=training_names(cfg),
        folders=[str(Path(folder).absolute()) for folder in folders],
        loop=cfg.get("test_cfg"),
    )
    _use_hooks_of_benchmarks(cfg)
    return chosen


def _settings_in_loop(benchmark: ReadyBenchmark) -> dict[str, Any]:
    """A benchmark as ``BenchmarkLoop`` takes it."""
    return dict(
        name=benchmark.name,
        dataloader=benchmark.dataloader,
        evaluator=benchmark.evaluator,
        scope=benchmark.benchmark.scope,
        settings=benchmark.settings,
    )


def _use_hooks_of_benchmarks(cfg: Config) -> None:
    """Take out figures of the config's own test data, which would mislead beside another's; ask for each vocabulary."""
    hooks = [hook for hook in cfg.get("custom_hooks") or () if not str(hook.get("type")).endswith("PrintedFiguresHook")]
    cfg.custom_hooks = hooks
    all_hooks = [*hooks, *(hook for hook in (cfg.get("default_hooks") or {}).values() if hook)]
    if not any(str(hook.get("type")).endswith("VocabularyHook") for hook in all_hooks):
        cfg.custom_hooks = [*hooks, dict(type="mmseg.VocabularyHook")]


def _weights(cfg: Config, checkpoint: str | Path | None) -> tuple[str, Path | None]:
    """What is evaluated, as a person calls it, and its file; None for weights that open_clip fetches."""
    if checkpoint is not None:
        return str(checkpoint), find_checkpoint(checkpoint)
    pretrained = str(((cfg.model.get("backbone") or {}).get("clip") or {}).get("pretrained"))
    return pretrained, locate(pretrained)


def gives_panoptic(cfg: Config) -> bool:
    """Whether a config's model gives segments, and can be told which names are things."""
    with MODELS.switch_scope_and_registry(cfg.get("default_scope", "mmseg")) as registry:
        kind = registry.get(cfg.model.type)
        return is_open_vocab(kind) and kind.gives_panoptic


def check_takes_names(model: nn.Module) -> None:
    """Check that a model can be asked for other names than it was trained for, and answers with label maps.

    Raises:
        ValueError: if it cannot.
    """
    if not isinstance(model, OpenVocabModel):
        raise ValueError(
            f"--benchmarks asks a model for the names of each benchmark, and {type(model).__name__} has a closed list "
            "of classes (it is no OpenVocabModel); test it on its own data set, without --benchmarks"
        )
    if not model.takes_names:
        raise ValueError(
            f"--benchmarks asks a model for the names of each benchmark, and {type(model).__name__} finds clusters "
            "without names; test it on its own data set, without --benchmarks"
        )
    if not model.gives_label_maps:
        raise ValueError(
            f"--benchmarks compares label maps, and {type(model).__name__} gives boxes; test it on its own data set, "
            "without --benchmarks"
        )


def training_names(cfg: Config) -> list[str] | None:
    """The classes of a config's training data, which need not be there; None if it has none."""
    dataloader = cfg.to_dict().get("train_dataloader") or {}
    names: dict[str, None] = {}
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmseg")):
        for settings in innermost_datasets(dataloader.get("dataset")):
            dataset = DATASETS.build({**settings, "pipeline": [], "lazy_init": True})
            metainfo = dataset.metainfo
            names |= dict.fromkeys(metainfo.get("vocabulary") or metainfo.get("classes") or ())
    return list(names) or None
