"""CLIP's two towers with the adapters that tie them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.adapters import Held, build_adapter
from hclip_mmseg.adapters.base import BlockOperation, Numbers, Operation, Tower
from hclip_mmseg.clip import (
    AdaptedTower,
    Projections,
    RoundedTwin,
    TextTower,
    VisionTower,
    build_clip,
    image_tower_of,
    with_parameters,
)
from hclip_mmseg.models.clip_backbone import CLIPBackbone
from hclip_mmseg.models.device_memory import Auto
from hclip_mmseg.models.features import DenseFeatures

AnyTower = VisionTower | TextTower
TOWERS: tuple[Tower, ...] = ("image", "text")


@MODELS.register_module()
class HCLIPBackbone(CLIPBackbone):
    """CLIP for dense prediction, frozen but for adapters and, where wanted, positional embeddings (docs/hclip.md).

    Owns both towers and the adapters, because the relations tie them. :meth:`forward` is the image's
    door, :meth:`encode_text` the text's.

    Args:
        clip: arguments of :func:`~hclip_mmseg.clip.build_clip`: ``model``, ``pretrained``, ``quick_gelu``.
        adapter: ``dict(type='POP', ...)`` (layers and widths are filled in), or None for plain CLIP.
        guidance_layers: blocks whose outputs guide the head, counted from 0; () for none.
        guidance_channels: channels of their maps, upsampled 2 and 4 times.
        out_layers: blocks whose outputs are given as they are, counted from 0; the last one's are the dense
            tokens before their projection.
        train_positions: whether both positional embeddings are trained; the published code of CAT-Seg and H-CLIP
            freezes them.
        residual: of the last block, see :func:`~hclip_mmseg.clip.attention.run_dense_block`; None: the image tower's
            own, 'cls' for those with a CLS token, 'block' for SigLIP's.
        checkpoint_text: compute the text tower's blocks again in the backward pass, for less memory; 'auto': see
            :class:`~hclip_mmseg.models.clip_backbone.CLIPBackbone`.
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        adapter: Mapping[str, Any] | None = None,
        guidance_layers: Sequence[int] = (3, 7),
        guidance_channels: Sequence[int] = (256, 128),
        train_positions: bool = False,
        residual: str | None = None,
        checkpoint_text: bool | Auto = False,
        out_layers: Sequence[int] = (),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        model = build_clip(**clip)
        self.image_tower = image_tower_of(model.visual)
        self.take_text(model, clip["model"])
        self.requires_grad_(False)
        if train_positions:
            self.image_tower.positional_embedding.requires_grad_(True)
            self.text_tower.positional_embedding.requires_grad_(True)
        self.residual = self.image_tower.checked_residual(residual)
        self.checkpoint_text = checkpoint_text
        self.guidance_layers = tuple(guidance_layers)
        self.out_layers = tuple(out_layers)
        self._check_layers(guidance_channels)
        self.guidance_upsamples: Any = nn.ModuleList(
            nn.ConvTranspose2d(self.image_tower.width, channels, kernel_size=scale, stride=scale)
            for channels, scale in zip(guidance_channels, (2, 4), strict=False)
        )
        self.adapter = None
        if adapter is not None:
            self.adapter = build_adapter(
                adapter,
                image_layers=self.image_tower.layers,
                text_layers=self.text_tower.layers,
                image_width=self.image_tower.width,
                text_width=self.text_tower.width,
            )
            self.adapter.start_from({"image": self.image_tower.blocks, "text": self.text_tower.blocks})
            for norm in self.image_tower.missing_norms():
                self.adapter.without_norm("image", norm)
        self._folded: Held[dict[Tower, AnyTower]] = Held()
        self._rounded: dict[Tower, RoundedTwin[AnyTower]] = {tower: RoundedTwin() for tower in TOWERS}

    @property
    def guidance_channels(self) -> tuple[int, ...]:
        """See :class:`~hclip_mmseg.models.clip_backbone.CLIPBackbone`."""
        return tuple(int(upsample.out_channels) for upsample in self.guidance_upsamples)

    def _check_layers(self, channels: Sequence[int]) -> None:
        last = self.image_tower.layers - 1
        if len(channels) != len(self.guidance_layers) or len(channels) not in (0, 2):
            raise ValueError(
                f"guidance_layers {self.guidance_layers} and guidance_channels {tuple(channels)} must be two each, "
                "or none"
            )
        if any(not 0 <= layer < last for layer in self.guidance_layers):
            raise ValueError(
                f"guidance_layers {self.guidance_layers} must be blocks 0 to {last - 1} of the image tower's {last + 1}"
            )
        if any(not 0 <= layer <= last for layer in self.out_layers):
            raise ValueError(f"out_layers {self.out_layers} must be blocks 0 to {last} of the image tower's {last + 1}")

    def forward(self, images: Tensor) -> DenseFeatures:
        """Dense features of images.

        Args:
            images: normalised [B, 3, H, W]; sides are multiples of the patch.

        Returns:
            guidance maps [B, channels, 2 h, 2 w] and [B, channels, 4 h, 4 w] (if any), outputs of ``out_layers``
            [B, width, h, w] (if any), then the projected dense tokens [B, embed_dim, h, w], for h x w patches.
        """
        grid = self.image_tower.grid_of(*images.shape[-2:])
        collect = (*self.guidance_layers, *self.out_layers)
        tokens, inner = self.adapted_tower("image")(images, collect=collect, residual=self.residual)

        def to_map(x: Tensor) -> Tensor:
            return x[:, self.image_tower.prefix :].transpose(1, 2).unflatten(2, grid)

        guides = len(self.guidance_layers)
        guidance = [upsample(to_map(x)) for upsample, x in zip(self.guidance_upsamples, inner[:guides], strict=True)]
        return DenseFeatures(to_map(tokens), guidance, [to_map(x) for x in inner[guides:]])

    def encode_text(self, tokens: Tensor, shared: int = 0) -> Tensor:
        """See :class:`~hclip_mmseg.models.clip_backbone.CLIPBackbone`."""
        again = self.checkpoints_text(tokens)
        embeddings: Tensor = self.adapted_tower("text")(tokens, checkpoint_blocks=again, shared=shared)
        return embeddings

    def encode_image(self, images: Tensor) -> Tensor:
        """CLIP's own embedding of images [B, 3, H, W] -> [B, embed_dim], not normalised."""
        current = self.adapted_tower("image")
        assert isinstance(current.tower, VisionTower)
        return current.tower.encode_image(images, adapter=current.adapter)

    def text_parameters(self) -> list[nn.Parameter]:
        """All parameters that :meth:`encode_text` computes with."""
        adapter = [] if self.adapter is None else list(self.adapter.parameters())
        return [*self.text_tower.parameters(), *adapter]

    def dead_parameters(self) -> list[Numbers]:
        """The trained numbers of the adapter that change nothing, as the last image block runs without its attention.

        Returns:
            Names of parameters of the backbone, with the places of those numbers in them.
        """
        if self.adapter is None or self.residual == "block":
            return []
        operations: list[Operation] = ["q", "k", "prompts"]
        if self.residual == "value":
            operations += ["ln_2", "mlp"]
        last = self.image_tower.layers - 1
        dead = self.adapter.dead_parameters(BlockOperation("image", last, operation) for operation in operations)
        return [Numbers(f"adapter.{numbers.parameter}", numbers.where) for numbers in dead]

    def projections(self, tower: Tower) -> Callable[[int], Projections]:
        """Block index -> what computes the projections of that block now.

        While gradients are recorded these are the adapters themselves; else weights with the adapters
        folded in, which cost what plain CLIP costs, folded anew whenever a parameter has changed.
        Adapters that cannot be folded are used as they are.
        """
        return self.adapted_tower(tower).projections

    def _tower(self, tower: Tower) -> AnyTower:
        return self.image_tower if tower == "image" else self.text_tower

    def adapted_tower(self, tower: Tower) -> AdaptedTower[AnyTower]:
        """What computes a tower now: the frozen one with its adapter, or the folded one alone.

        Under autocast its frozen weights are cast once, not in every pass, where the adapter takes them as they are.
        """
        current = self._adapted_tower(tower)
        if current.adapter is not None and not current.adapter.takes_rounded:
            return current
        device = next(current.tower.parameters()).device
        return AdaptedTower(self._rounded[tower].of(current.tower, device), current.adapter)

    def _adapted_tower(self, tower: Tower) -> AdaptedTower[AnyTower]:
        if self.adapter is None or torch.is_grad_enabled() or not self.adapter.foldable:
            return AdaptedTower(self._tower(tower), self.adapter)
        return AdaptedTower(self._folded.get(self._sources, self._folded_towers)[tower])

    def attentions(self, tower: Tower) -> list[Any]:
        """The attention modules of a tower's blocks, which hold the frozen weights."""
        return [block.attn for block in self._tower(tower).blocks]

    def fold(self) -> None:
        """Folds the adapters into copies of the weights that they change, unless that is done and current.

        The frozen weights themselves stay as they are, so that training goes on exactly where it was.
        Adapters that cannot be folded stay unfolded.
        """
        if self.adapter is not None and self.adapter.foldable:
            self._folded.get(self._sources, self._folded_towers)

    @torch.no_grad()
    def image_side(self) -> HCLIPBackbone:
        """The same backbone for images alone, its adapters folded where they can be; all weights are shared.

        It computes what this one does now, and stays so when adapters change. It cannot encode texts.
        """
        side = copy.copy(self)
        adapted = self._adapted_tower("image")
        kept = {name: module for name, module in self._modules.items() if name not in ("text_tower", "adapter")}
        side._modules = {**kept, "image_tower": adapted.tower}
        side.adapter = adapted.adapter
        side._folded = Held()
        side._rounded = {tower: RoundedTwin() for tower in TOWERS}
        return side

    def _sources(self) -> list[nn.Parameter]:
        """All parameters that the folded towers are made of."""
        assert self.adapter is not None
        return [p for module in (self.adapter, *map(self._tower, TOWERS)) for p in module.parameters()]

    @torch.inference_mode(False)
    @torch.no_grad()
    def _folded_towers(self) -> dict[Tower, AnyTower]:
        assert self.adapter is not None
        towers = {name: with_parameters(self._tower(name), self.folded_parameters(name)) for name in TOWERS}
        self.adapter.forget()
        return towers

    def folded_parameters(self, tower: Tower) -> dict[str, Tensor]:
        """The parameters of a tower that differ from CLIP's own once the adapters are folded in, by name.

        Raises:
            ValueError: if there are no adapters, or they cannot be folded.
        """
        if self.adapter is None:
            raise ValueError("the model's backbone has no adapters to fold")
        device = next(self.adapter.parameters()).device.type
        with torch.autocast(device, enabled=False):
            return self.adapter.folded(tower, self._tower(tower))

    def settle(self) -> None:
        """Hold what is computed from weights without comparing them, until :meth:`forget`."""
        self._folded.settle()
        for rounded in self._rounded.values():
            rounded.settle()
        self.image_tower.settle()
        if self.adapter is not None:
            self.adapter.settle()

    def forget(self) -> None:
        """Drop all that was computed from weights; the next use without gradients computes it again."""
        self._folded.forget()
        for rounded in self._rounded.values():
            rounded.forget()
        self.image_tower.forget()
        if self.adapter is not None:
            self.adapter.forget()
