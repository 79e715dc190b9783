"""Which parameters decay, in the code that these methods' authors published."""

from __future__ import annotations

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

UNDECAYED: tuple[type[nn.Module], ...] = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    nn.Embedding,
)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PublishedOptimizer(DefaultOptimWrapperConstructor):
    """MMEngine's constructor, by which norm layers and embeddings never decay.

    So it is in the training scripts of CAT-Seg, H-CLIP, FC-CLIP and MAFT+, which follow Mask2Former's. MMEngine's
    ``norm_decay_mult`` does the same for norms alone, and not for those whose rate ``custom_keys`` set.

    Arguments are those of MMEngine's constructor; ``paramwise_cfg`` may have ``decayed``, parts of names of modules
    that decay all the same.
    """

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        prefix: str = "",
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Add the groups of a module and of those in it; see ``DefaultOptimWrapperConstructor``."""
        before = len(params)
        super().add_params(params, module, prefix, is_dcn_module)
        decays = any(part in prefix for part in self.paramwise_cfg.get("decayed", ()))
        if isinstance(module, UNDECAYED) and not decays:
            for group in params[before:]:
                group["weight_decay"] = 0.0
