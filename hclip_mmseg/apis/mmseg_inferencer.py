"""MMSegmentation's own inferencer, asked for any class names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import Compose
from mmseg.apis import MMSegInferencer

from hclip_mmseg.vocabularies import Names, read_vocabulary


class OpenVocabMMSegInferencer(MMSegInferencer):
    """``MMSegInferencer`` whose ``classes`` are what the model looks for.

    MMSegmentation's own gives them to the visualizer alone, and the model looks for the names of the checkpoint's data
    set. Images are read by the config's ``test_pipeline``, so that a config without data serves too.

    Args:
        model: path of a config, or the config.
        weights: a checkpoint; None for a model without training.
        classes: class names as :func:`~hclip_mmseg.vocabularies.read_vocabulary` takes them; None: those of the
            checkpoint's data set.
        scope: MMEngine's default scope; None: the config's.
        others: of ``MMSegInferencer``.

    Raises:
        FileNotFoundError, ValueError: if the names are no vocabulary.
    """

    def __init__(
        self,
        model: str | Path | Config,
        weights: str | None = None,
        classes: Names | None = None,
        scope: str | None = None,
        **others: Any,
    ) -> None:
        vocabulary = None if classes is None else read_vocabulary(classes)
        config = model if isinstance(model, Config) else Config.fromfile(model)
        super().__init__(config, weights, scope=scope or config.get("default_scope", "mmseg"), **others)
        if vocabulary is not None:
            self.model.set_vocabulary(vocabulary)

    def _init_pipeline(self, cfg: Config) -> Compose:
        first, *steps = cfg.test_pipeline
        return Compose([dict(first, type="InferencerLoader"), *steps])
