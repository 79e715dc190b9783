"""A model's weights from a checkpoint of this project, or from a published one, which is converted in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from hclip_mmseg.conversion.published import find_kind, to_ours
from hclip_mmseg.files import checkpoints
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.paths import is_clone
from hclip_mmseg.files.state_dicts import find_state_dict

CONFIGS: Mapping[str, str] = {
    "cat-seg": "its configs are configs/cat_seg/",
    "h-clip": "its configs are configs/hclip/",
    "maft+": "its configs are configs/maft_plus/maft-plus-published_*",
    "fc-clip": "its configs are those of configs/maft_plus/ without the transfer",
    "clip": "CLIP's weights without a head are given as model.backbone.clip.pretrained",
}
"""Kind of a published checkpoint -> what it is for."""

Check = Callable[[nn.Module, Mapping[str, Tensor], str | Path], None]


@dataclass(frozen=True)
class Weights:
    """A model's state dict.

    Attributes:
        source: the file.
        state: names of this project -> tensors.
        kind: of the published checkpoint that it was converted from; None: it is this project's own.
    """

    source: Path
    state: Mapping[str, Tensor]
    kind: str | None = None

    def check(self, model: nn.Module, check: Check = checkpoints.check_fits) -> None:
        """Check that the weights are a model's, and say that they were converted if they were.

        Raises:
            ValueError: as ``check`` does; for a published checkpoint with its kind, and the command that converts it.
        """
        try:
            check(model, self.state, self.source)
        except InputError as error:
            if self.kind is None:
                raise
            command = "python tools/convert_checkpoint.py" if is_clone() else "hclip-convert"
            raise InputError(
                f"{error}. It is a published checkpoint of {self.kind}, and {CONFIGS[self.kind]}; "
                f"{command} {self.source} OUT.pth writes it in this project's names"
            ) from error
        if self.kind is not None:
            print(f"{self.source} is a published checkpoint of {self.kind}; it is converted in memory")


def read_weights(path: str | Path) -> Weights:
    """The weights in a checkpoint; a published one is converted in memory.

    Raises:
        FileNotFoundError, ValueError: as `checkpoints.read_state_dict`, or as the conversion.
    """
    found = checkpoints.find_checkpoint(path)
    return weights_of(checkpoints.load(found), found)


def weights_of(content: Any, source: str | Path) -> Weights:
    """The weights in the content of a checkpoint, as `checkpoints.load` gives it; see `read_weights`."""
    kind = _published_kind(content)
    if kind is None:
        return Weights(Path(source), checkpoints.state_dict_of(content, source))
    return Weights(Path(source), to_ours(content)["state_dict"], kind)


class PublishedCheckpointHook(Hook):
    """Converts a published checkpoint that a run loads."""

    priority = "HIGHEST"  # before whatever else looks at the names

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace the checkpoint's content by the converted one."""
        if _published_kind(checkpoint) is not None:
            converted = to_ours(checkpoint)
            checkpoint.clear()
            checkpoint.update(converted)


def _published_kind(content: Any) -> str | None:
    state = find_state_dict(content)
    kind = find_kind({str(name).removeprefix("module."): value for name, value in state.items()})
    return None if kind is None else kind.name
