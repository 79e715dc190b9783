"""Towers and adapters from a run of another system."""

from __future__ import annotations

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader

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
        loaded = CheckpointLoader.load_checkpoint(self.checkpoint, map_location="cpu", logger="silent")
        state = {
            name.removeprefix(PREFIX): tensor
            for name, tensor in loaded.get("state_dict", loaded).items()
            if name.startswith(PREFIX)
        }
        expected = {name: tensor for name, tensor in module.state_dict().items() if not name.startswith(OWN)}
        problems = [f"it lacks {name}" for name in expected if name not in state]
        problems += [f"it has {name} besides" for name in state if name not in expected and not name.startswith(OWN)]
        problems += [
            f"{name} is {list(state[name].shape)} there and {list(tensor.shape)} here"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ]
        if problems:
            raise ValueError(
                f"the backbone in {self.checkpoint} is not this model's ({len(problems)} differences: "
                f"{'; '.join(problems[:3])}); CLIP and adapter must be configured alike"
            )
        module.load_state_dict({name: state[name] for name in expected}, strict=False)
        print_log(f"backbone: {len(expected)} tensors from {self.checkpoint}", logger="current")

    def _get_init_info(self) -> str:
        """What MMEngine writes into the log of initial weights."""
        return f"{type(self).__name__}: from {self.checkpoint}"
