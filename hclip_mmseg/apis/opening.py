"""A model by its config and checkpoint, or by its name in the zoo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.apis.model_folder import is_model_folder, open_folder
from hclip_mmseg.files.checkpoints import find_checkpoint
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.paths import check_path
from hclip_mmseg.zoo.beside_clip import fill_weights
from hclip_mmseg.zoo.choice import choose, is_name
from hclip_mmseg.zoo.download import published_file


class Opened(NamedTuple):
    """A config, and the checkpoint of its model.

    Attributes:
        config: the config.
        checkpoint: the file; None: none was given, and the model needs none.
        path: of the config, as it was given or as the zoo has it.
    """

    config: Config
    checkpoint: str | Path | None
    path: str


def config_path(config: str) -> str:
    """The path of the config that a name stands for; a path as it is.

    Raises:
        ValueError: if what is given is no path, and no model is called so.
    """
    return choose(config).config if is_name(config) else config


def open_file(file: str, offline: bool = False) -> Path:
    """The published file that a name stands for, fetched where it is not here; a path as it is.

    Raises:
        ValueError: if what is given is no path and no model is called so, or it has no weights that can be had.
    """
    return published_file(choose(file).model, offline) if is_name(file) else Path(file)


def open_checkpoint(checkpoint: str | Path, offline: bool = False) -> Path:
    """The checkpoint that a name stands for, fetched and converted where it is not here; a path's, if it is there.

    Raises:
        FileNotFoundError, ValueError: if there is no such file or name, or the model has no checkpoint that can be had.
    """
    if not is_name(checkpoint):
        return find_checkpoint(checkpoint)
    found = choose(str(checkpoint)).checkpoint(offline)
    if found is None:
        raise InputError(f"{checkpoint} has no checkpoint to start from: its weights are CLIP's alone")
    return found


def open_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    parts: Sequence[str] = ("model",),
    offline: bool = False,
) -> Opened:
    """The config and the checkpoint that are meant.

    Args:
        config: path of a config, the config, a folder of ``save_pretrained``, or a name that ``hclip-models`` lists;
            its weights are fetched and converted where they are not here yet.
        checkpoint: of the model; None: of a name, what is published.
        parts: what the config must have.
        offline: whether the network must not be used.

    Raises:
        FileNotFoundError, ValueError: if there is no such config or name, or the weights cannot be had.
    """
    if checkpoint is not None:
        check_path(checkpoint, "give a checkpoint, or leave it out")
    if isinstance(config, Config):
        return Opened(config, checkpoint, str(config.filename))
    if is_model_folder(config):
        cfg, weights = open_folder(config)
        return Opened(cfg, checkpoint or weights, str(config))
    if not is_name(config):
        cfg = read_config(config, parts)
        fill_weights(cfg.get("model"), by_name=False, offline=offline)
        return Opened(cfg, checkpoint, str(config))
    choice = choose(str(config))
    cfg = read_config(choice.config, parts)
    if checkpoint is None:
        checkpoint = choice.checkpoint(offline)
    if checkpoint is None and (cfg.model.get("backbone") or {}).get("clip"):
        cfg.model.backbone.clip = choice.clip_entry(cfg.model.backbone.clip.to_dict(), offline)
    fill_weights(cfg.get("model"), by_name=True, offline=offline)
    return Opened(cfg, checkpoint, choice.config)
