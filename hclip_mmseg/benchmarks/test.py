"""Testing a model from its config, on its own data or on the papers' benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from hclip_mmseg.apis import checks, launch, record
from hclip_mmseg.apis.mixed_precision import predict_in_bf16
from hclip_mmseg.apis.repeatable import make_repeatable
from hclip_mmseg.apis.weights import PublishedCheckpointHook, Weights, read_weights
from hclip_mmseg.benchmarks.augmentation import augment_test
from hclip_mmseg.benchmarks.choice import FOUND, survey
from hclip_mmseg.benchmarks.command import check_takes_names, use_benchmarks
from hclip_mmseg.datasets.published_resize import use_resize
from hclip_mmseg.engine.setup_log import ShortLogRunner
from hclip_mmseg.models.frozen import is_training_free
from hclip_mmseg.models.open_vocab_model import model_inside


def prepare_test(
    cfg: Config,
    checkpoint: str | None = None,
    *,
    benchmarks: Sequence[str] = (),
    data_root: str | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    show: bool = False,
    wait_time: float = 2,
    resize: str = "published",
    augmentation: bool = False,
    amp: bool = False,
) -> Runner:
    """Build the runner of a test and check all that it reads; its ``test`` starts the work.

    Args:
        cfg: a config as `launch.load_config` gives it; changed in place.
        checkpoint: the model's trained weights, published ones too; models that need no training have none.
        benchmarks: names of benchmarks to evaluate on, one after the other, instead of the config's own test data.
        data_root: folder of the benchmarks' data; None: data.
        settings: of the config that were replaced for this run.
        out: folder to write label maps or boxes to.
        show_dir: folder to write the drawn results to.
        show, wait_time: whether to show them in a window, and the seconds that it stays.
        resize: 'published' resizes images as the config's test pipeline does; 'direct' takes its ``PublishedResize``
            out, so that the model brings the images themselves to its own size.
        augmentation: whether images are looked at in several sizes and flipped; see
            :func:`~hclip_mmseg.benchmarks.augmentation.augment_test`.
        amp: whether to predict in bfloat16, where the device has it.

    Raises:
        FileNotFoundError, ValueError, KeyError: if anything that the run needs is missing or wrong.
    """
    folders = {option: folder for option, folder in (("--out", out), ("--show-dir", show_dir)) if folder}
    for option, folder in folders.items():
        launch.check_writable(folder, option)
    if augmentation and benchmarks:
        raise ValueError("--tta is for a config's own test data: leave it, or --benchmarks, out")
    use_resize(cfg, resize)
    if benchmarks:
        use_benchmarks(cfg, checkpoint, list(benchmarks), data_root, settings, list(folders.values()))
    elif "test_dataloader" not in cfg:
        raise ValueError(f"{cfg.filename} has no test data of its own: choose some by --benchmarks NAME ...")
    _settle_weights(cfg, checkpoint)
    checks.check_run(cfg, ["test"])
    weights = read_weights(checkpoint) if checkpoint else None
    if show or show_dir:
        draw_results(cfg, show_dir, show, wait_time)
    if out:
        write_results(cfg, out)
    if augmentation:
        augment_test(cfg)
    runner = _build_runner(cfg, weights, asks_names=bool(benchmarks))
    if amp:
        predict_in_bf16(model_inside(runner.model))
    if list(benchmarks) == [FOUND]:
        runner.logger.info(f"Found (+) and not found (-):\n{survey(data_root)}", extra=dict(asked_for=True))
    return runner


def _settle_weights(cfg: Config, checkpoint: str | None) -> None:
    """Take CLIP out of the checkpoint where there is one; refuse a trained model without."""
    if checkpoint:
        checks.take_clip_from_checkpoint(cfg)
    elif not is_training_free(cfg.model):
        raise ValueError(f"{cfg.filename} is a model that is trained: give the checkpoint to be tested after it")


def _build_runner(cfg: Config, weights: Weights | None, *, asks_names: bool) -> Runner:
    """The runner of a test whose config is settled, its data read and its record written."""
    cfg.load_from = str(weights.source) if weights else None
    cfg.resume = False
    make_repeatable(cfg)
    launch.distribute(cfg)
    launch.pin_batches(cfg)
    runner = ShortLogRunner.from_cfg(cfg)
    model = model_inside(runner.model)
    if asks_names:
        check_takes_names(model)
    if weights is not None:
        weights.check(model)
        runner.register_hook(PublishedCheckpointHook())
    launch.read_data(runner, "test")
    record.write_record(runner)
    return runner


def draw_results(cfg: Config, folder: str | None, show: bool, wait_time: float) -> None:
    """Turn the drawing of results on, into a window or a folder."""
    hooks = cfg.get("default_hooks") or {}
    hook = hooks.get("visualization") or dict(type="mmseg.OpenVocabVisualizationHook")
    drawn = dict(draw=True, interval=1, show=show, wait_time=wait_time)
    cfg.default_hooks = {**hooks, "visualization": {**hook, **drawn}}
    if folder:
        cfg.visualizer.save_dir = folder


def write_results(cfg: Config, folder: str) -> None:
    """Write a test's label maps, or a detector's boxes, into a folder.

    Raises:
        ValueError: if the model gives neither: MMDetection's segmentors of masks give segments alone.
    """
    if "panoptic_head" in cfg.model:
        raise ValueError(f"--out writes label maps, or boxes of a detector, and {cfg.model.type} gives segments alone")
    hook = "BoxFileHook" if "roi_head" in cfg.model else "mmseg.LabelMapHook"
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type=hook, folder=folder)]
