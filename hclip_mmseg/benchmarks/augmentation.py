"""Augmentation in testing, put into a config."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from hclip_mmseg.benchmarks.command import gives_panoptic

SCALES = (1.0, 0.75, 1.25)
"""Sizes that an image is looked at in. The first is its own: label maps that were loaded before keep theirs."""
SCORE_MEMORY = 2 << 30
"""Bytes that the scores of an image may take where a model would leave them out."""


def augment_test(cfg: Config) -> None:
    """Make a config's test look at every image in several sizes, and flipped in each.

    Label maps are loaded after that, at their own size. A model that classifies masks gives label maps alone then.

    Args:
        cfg: with test data; changed in place.

    Raises:
        ValueError: if results cannot be averaged pixel by pixel: of a detector, of clusters, or if all that is
            measured are segments.
    """
    kind = str(cfg.model.type)
    if "roi_head" in cfg.model or "text_encoder" not in cfg.model:
        raise ValueError(f"--tta averages the scores of class names over pixels, which {kind} does not give")
    if gives_panoptic(cfg):
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        cfg.test_evaluator = [
            evaluator for evaluator in evaluators if str(evaluator["type"]).endswith(("IoUMetric", "SemSegMetric"))
        ]
        if not cfg.test_evaluator:
            raise ValueError(f"--tta gives label maps, and {cfg.filename} measures segments alone")
        settings = dict(cfg.model.get("test_cfg") or {})
        cfg.model.test_cfg = dict(settings, panoptic=False, score_memory=SCORE_MEMORY)
    data = cfg.test_dataloader.dataset
    if "pipeline" not in data:
        raise ValueError(f"--tta changes the pipeline of the test data, and {data.type} has none of its own")
    *steps, pack = data.pipeline
    before = [step for step in steps if not _loads_labels(step)]
    sizes = [dict(type="Resize", scale_factor=scale, keep_ratio=True) for scale in SCALES]
    flips = [dict(type="RandomFlip", prob=chance, direction="horizontal") for chance in (0.0, 1.0)]
    packed = [[step] for step in steps if _loads_labels(step)] + [[pack]]
    data.pipeline = [*before, dict(type="TestTimeAug", transforms=[sizes, flips, *packed])]
    cfg.model = dict(type="mmseg.OpenVocabTTAModel", module=cfg.model)


def _loads_labels(step: Any) -> bool:
    kind = str(step["type"]).split(".")[-1]
    return kind.startswith("Load") and "Image" not in kind
