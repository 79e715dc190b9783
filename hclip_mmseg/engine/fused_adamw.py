"""AdamW in a few kernels a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmseg.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class FusedAdamW(torch.optim.AdamW):
    """torch's AdamW, whose step takes all groups of the same settings together, on a GPU by its fused kernel.

    MMEngine makes each parameter a group of its own where rates or decays differ, and torch launches all kernels of a
    step for each group. Groups, their rates and the state dict are AdamW's: either goes on from the other's
    checkpoint, on any device. On a CPU the numbers are the same bit for bit.

    Args:
        params: parameters or groups of them, as torch takes them.
        fused: whether torch's fused kernel is used; None: where all parameters lie on a GPU, and ``foreach`` and
            ``differentiable`` do not ask for another form.
        settings: of ``torch.optim.AdamW``.
    """

    def __init__(self, params: Any, fused: bool | None = None, **settings: Any) -> None:
        super().__init__(params, fused=fused, **settings)
        if fused is None and settings.get("foreach") is None and not settings.get("differentiable"):
            self._set_fused(True if self._fits_fused_kernel() else None)

    def _fits_fused_kernel(self) -> bool:
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        return all(parameter.is_cuda and parameter.is_floating_point() for parameter in parameters)

    def _set_fused(self, fused: bool | None) -> None:
        self.defaults["fused"] = fused
        for group in self.param_groups:
            group["fused"] = fused

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; see ``torch.optim.AdamW.step``."""
        own = self.param_groups
        self.param_groups = self._merged(own)
        try:
            return super().step(closure)
        finally:
            self.param_groups = own

    def _merged(self, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Groups with the same settings as one, in the order of their first."""
        merged: list[dict[str, Any]] = []
        for group in groups:
            alike = (other for other in merged if all(other[name] == group[name] for name in self.defaults))
            found = next(alike, None)
            if found is None:
                merged.append({**group, "params": list(group["params"])})
            else:
                found["params"] += group["params"]
        return merged

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, of whatever device; the form of the step stays this optimizer's own."""
        own = self.defaults["fused"]
        groups = [{**group, "fused": own} for group in state_dict["param_groups"]]
        super().load_state_dict({**state_dict, "param_groups": groups})
