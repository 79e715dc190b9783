"""The models that a demo offers: opened when somebody first chooses them, and shared by all who ask."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from mmengine.config import Config

from hclip_mmseg.apis.image_inferencer import ImageInferencer
from hclip_mmseg.apis.opening import Opened, config_path, open_model
from hclip_mmseg.apis.predict import classifies_masks, latest_checkpoint, open_inferencer
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.models.frozen import is_training_free

EMBEDDED = (
    "configs/hclip/hclip_tiny_scenes.py",
    "configs/training_free/naclip_tiny_scenes.py",
    "configs/cliptrase/cliptrase_tiny_scenes.py",
)
"""Configs that need nothing but what the package brings."""


@dataclass(frozen=True)
class OfferedModel:
    """A model that a demo offers.

    Attributes:
        name: what it is called in the page.
        config: path of its config, or a name that ``hclip-models`` lists.
        checkpoint: its trained weights; None: see :func:`~hclip_mmseg.apis.predict.prepare_prediction`.
    """

    name: str
    config: str
    checkpoint: str | None = None


def offered_models(given: Sequence[str], checkpoint: str | None = None) -> tuple[OfferedModel, ...]:
    """The models that are meant by configs and names.

    Args:
        given: paths of configs and names that ``hclip-models`` lists; none: the embedded ones.
        checkpoint: of the first.

    Raises:
        FileNotFoundError, ValueError: if a name is none, or two models would be called the same.
    """
    configs = list(given or EMBEDDED)
    names = [Path(config).stem if config.endswith(".py") else config for config in configs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two models are called {twice}: offer one of them")
    for config in configs:
        config_path(config)
    checkpoints = [checkpoint, *[None] * (len(configs) - 1)]
    return tuple(map(OfferedModel, names, configs, checkpoints))


class ModelShelf:
    """Opens models by name, and keeps those that were asked last.

    Args:
        models: that are offered; nothing else is ever opened.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.
        offline: whether the network must not be used for a name's weights.
        kept: how many are kept in memory at once.
    """

    def __init__(
        self, models: Sequence[OfferedModel], device: str = "auto", *, offline: bool = False, kept: int = 2
    ) -> None:
        self.models = {model.name: model for model in models}
        self.device, self.offline, self.kept = device, offline, kept
        self._lock = Lock()
        self._open: OrderedDict[tuple[str, str], ImageInferencer] = OrderedDict()

    @property
    def names(self) -> tuple[str, ...]:
        """What the models are called."""
        return tuple(self.models)

    def inferencer(self, name: str) -> ImageInferencer:
        """The model of a name.

        Raises:
            FileNotFoundError, ValueError: if none is offered under it, or it cannot be opened.
        """
        return self._kept(name, "itself", self._open_itself)

    def frozen(self, name: str) -> ImageInferencer:
        """The CLIP that the model of a name works on, frozen and without anything that was added.

        Raises:
            FileNotFoundError, ValueError: if there is none, or the model is that CLIP.
        """
        return self._kept(name, "frozen", self._open_frozen)

    def _kept(self, name: str, form: str, opened: Callable[[Opened], ImageInferencer]) -> ImageInferencer:
        if name not in self.models:
            raise InputError(f"no model '{name}' is offered here; there are {', '.join(self.names)}")
        with self._lock:
            if (name, form) not in self._open:
                model = self.models[name]
                found = opened(open_model(model.config, model.checkpoint, offline=self.offline))
                while len(self._open) >= self.kept:
                    self._open.popitem(last=False)
                self._open[name, form] = found
            self._open.move_to_end((name, form))
            return self._open[name, form]

    def _open_itself(self, opened: Opened) -> ImageInferencer:
        cfg = opened.config
        return open_inferencer(cfg, _trained(opened), self.device, panoptic=classifies_masks(cfg))

    def _open_frozen(self, opened: Opened) -> ImageInferencer:
        cfg = opened.config
        if "decode_head" not in cfg.model and not is_training_free(cfg.model):
            raise InputError("only segmentors can be compared with their frozen CLIP")
        if is_training_free(cfg.model):
            return open_inferencer(plain_clip_config(cfg), None, self.device, panoptic=False)
        if _trained(opened) is None:
            raise InputError("this model is its frozen CLIP already: it has no trained weights here")
        return open_inferencer(cfg, None, self.device, panoptic=False)


def plain_clip_config(cfg: Config) -> Config:
    """The config of a training-free model with CLIP's own attention, and without regions."""
    cfg = copy.deepcopy(cfg)
    if cfg.model.backbone.get("attention") in ("clip", dict(type="clip")) and cfg.model.get("regions") is None:
        raise InputError("this model is its frozen CLIP already")
    cfg.model.backbone.attention = dict(type="clip")
    if "regions" in cfg.model:
        cfg.model.regions = None
    return cfg


def _trained(opened: Opened) -> str | Path | None:
    return opened.checkpoint or latest_checkpoint(opened.path)
