"""Towers and adapters from a run of another system."""

from __future__ import annotations

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import WEIGHT_INITIALIZERS

from hclip_mmseg.files.checkpoints import read_state_dict
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.state_dicts import compare

PREFIX = "backbone."
OWN = "guidance_upsamples."  # made for the head of the system that they were trained in


@WEIGHT_INITIALIZERS.register_module()
class PretrainedBackbone:
    """Starts a backbone from the one in a checkpoint of any model: a detector from a segmentor's, or the reverse.

    For ``init_cfg`` of an ``HCLIPBackbone``. Takes CLIP's towers and the adapters, all or nothing; the convolutions
    of the guidance maps stay as they are.

    Args:
        checkpoint: the file, as training writes it.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def __call__(self, module: BaseModule) -> None:
        """Loads ``module``'s weights.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if towers or adapters differ: what lacks and what has another shape.
        """
        state = {
            name.removeprefix(PREFIX): tensor
            for name, tensor in read_state_dict(self.checkpoint).items()
            if name.startswith(PREFIX) and not name.startswith(PREFIX + OWN)
        }
        expected = {name: tensor for name, tensor in module.state_dict().items() if not name.startswith(OWN)}
        differences = compare(expected, state)
        if differences:
            raise InputError(
                f"the backbone in {self.checkpoint} is not this model's: {differences}; CLIP and adapter must be "
                "configured alike"
            )
        module.load_state_dict(state, strict=False)
        print_log(f"backbone: {len(expected)} tensors from {self.checkpoint}", logger="current")

    def _get_init_info(self) -> str:
        """What MMEngine writes into the log of initial weights."""
        return f"{type(self).__name__}: from {self.checkpoint}"
