"""From aggregated costs to score maps: upsampling guided by the image tower's inner maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GuidedUpsample(nn.Module):
    """Transposed convolution x 2, then two 3 x 3 convolutions over it and the guidance map.

    The guidance map is the same for every class, and conv([x; g]) = conv_x(x) + conv_g(g): its part is
    computed once an image and never repeated. SED has maps of each class beside it, made of the cost volume.

    Nothing stands between the transposed convolution and the first of the others, so both are one transposed
    convolution with a kernel of 4 x 4, which takes half of the operations and never holds the map between them.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; GroupNorm takes 16 of them a group.
        guidance_channels: channels of the guidance map, 0 for none; the transposed convolution gives
            ``in_channels - guidance_channels``.
        class_channels: channels of the maps of each class.
    """

    def __init__(self, in_channels: int, out_channels: int, guidance_channels: int, class_channels: int = 0) -> None:
        super().__init__()
        self.up_channels, self.shared_end = in_channels - guidance_channels, in_channels
        groups = max(out_channels // 16, 1)
        self.up = nn.ConvTranspose2d(in_channels, self.up_channels, kernel_size=2, stride=2)
        self.conv1 = nn.Conv2d(in_channels + class_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(groups, out_channels)

    def project_guidance(self, guidance: Tensor) -> Tensor:
        """What the first convolution adds for every class alike: [B, guidance, H, W] -> [B, out, H, W].

        That is the guidance map's part, and that of the transposed convolution's bias.
        """
        of_guidance = F.conv2d(guidance, self.conv1.weight[:, self.up_channels : self.shared_end], padding=1)
        return of_guidance + self._of_bias(*guidance.shape[-2:])

    def forward(self, x: Tensor, shared: Tensor | None, of_classes: Tensor | None = None) -> Tensor:
        """Upsamples every class's map.

        Args:
            x: [B * T, in_channels, H, W], the classes of an image together.
            shared: :meth:`project_guidance` of the maps [B, out_channels, 2 H, 2 W], or None.
            of_classes: the classes' own maps [B * T, class_channels, 2 H, 2 W], or None.

        Returns:
            [B * T, out_channels, 2 H, 2 W].
        """
        joined = F.conv2d(self.up.weight, self.conv1.weight[:, : self.up_channels], padding=2)
        x = F.conv_transpose2d(x, joined, stride=2, padding=1)
        if of_classes is not None:
            x = x + F.conv2d(of_classes, self.conv1.weight[:, self.shared_end :], padding=1)
        x = _add_to_every_class(x, self._of_bias(*x.shape[-2:]) if shared is None else shared)
        x = F.relu(self.norm1(x), inplace=True)
        return F.relu(self.norm2(self.conv2(x)), inplace=True)

    def _of_bias(self, height: int, width: int) -> Tensor:
        """The first convolution of the transposed one's bias, [1, out, height, width], with zeros around it.

        It differs at the borders alone, so it is computed for 3 x 3 places; height and width are at least 2.
        """
        assert self.up.bias is not None
        constant = self.up.bias[None, :, None, None].expand(-1, -1, 3, 3)
        small = F.conv2d(constant, self.conv1.weight[:, : self.up_channels], padding=1)
        first, middle, last = small.split(1, dim=2)
        rows = torch.cat([first, middle.expand(-1, -1, height - 2, -1), last], dim=2)
        first, middle, last = rows.split(1, dim=3)
        return torch.cat([first, middle.expand(-1, -1, -1, width - 2), last], dim=3)


def _add_to_every_class(maps: Tensor, shared: Tensor) -> Tensor:
    """[B * T, C, H, W] in channels-last layout + [B, C, H, W], which all T classes of an image get.

    Written over one axis of all channels and places: the backward pass then sums whole rows, forty times as fast on a
    CPU as over the strided axes.
    """
    count, channels, height, width = maps.shape
    rows = maps.permute(0, 2, 3, 1).reshape(shared.shape[0], -1, height * width * channels)
    added = rows + shared.permute(0, 2, 3, 1).reshape(shared.shape[0], 1, -1)
    return added.view(count, height, width, channels).permute(0, 3, 1, 2)


class CostDecoder(nn.Module):
    """Two guided upsampling steps and one score map per class.

    Args:
        dim: width of the cost embedding.
        channels: output channels of the two steps.
        guidance_channels: channels of the guidance maps as the image tower gives them.
        guidance_projections: channels that they are projected to.
    """

    def __init__(
        self,
        dim: int,
        channels: Sequence[int] = (64, 32),
        guidance_channels: Sequence[int] = (256, 128),
        guidance_projections: Sequence[int] = (32, 16),
    ) -> None:
        super().__init__()
        if not guidance_channels:
            guidance_projections = ()
        projections = tuple(guidance_projections) or (0, 0)
        self.guidance_projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(given, wanted, 3, padding=1), nn.ReLU())
            for given, wanted in zip(guidance_channels, guidance_projections, strict=True)
        )
        self.steps: Any = nn.ModuleList(
            [
                GuidedUpsample(dim, channels[0], projections[0]),
                GuidedUpsample(channels[0], channels[1], projections[1]),
            ]
        )
        self.score = nn.Conv2d(channels[1], 1, 3, padding=1)

    def project_guidance(self, guidance: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Everything of the decoder that depends on the image alone; once an image.

        Args:
            guidance: maps [B, channels, H, W] from coarse to fine, at 2 and 4 times the cost's grid; () where
                the decoder was built without.
        """
        if not guidance:
            return ()
        return tuple(
            step.project_guidance(projection(given))
            for step, projection, given in zip(self.steps, self.guidance_projections, guidance, strict=True)
        )

    def kept_numbers(self) -> list[int]:
        """How many numbers each step keeps for the backward pass, a place of the cost's grid and class."""
        return [4 ** (index + 1) * 4 * step.conv2.out_channels for index, step in enumerate(self.steps)]

    def forward(self, x: Tensor, shared: tuple[Tensor, ...]) -> Tensor:
        """Score maps of some of the classes.

        Args:
            x: [B, T, H, W, dim].
            shared: :meth:`project_guidance` of the image, or () for none.

        Returns:
            logits [B, T, 4 H, 4 W].
        """
        batch, classes = x.shape[:2]
        maps = x.flatten(0, 1).permute(0, 3, 1, 2)
        maps = maps.contiguous(memory_format=torch.channels_last)
        for step, given in zip(self.steps, shared or (None, None), strict=True):
            maps = step(maps, given)
        return one_channel(maps, self.score).view(batch, classes, *maps.shape[-2:])


def one_channel(maps: Tensor, convolution: nn.Conv2d) -> Tensor:
    """A 3 x 3 convolution to one channel, [N, C, H, W] -> [N, 1, H, W].

    A GPU computes eight channels, seven of zeros, and their gradients in half of the time that it takes for one.
    """
    assert convolution.bias is not None
    if not maps.is_cuda:
        return F.conv2d(maps, convolution.weight, convolution.bias, padding=1)
    weight = F.pad(convolution.weight, (0, 0, 0, 0, 0, 0, 0, 7)).contiguous(memory_format=torch.channels_last)
    return F.conv2d(maps, weight, padding=1)[:, :1] + convolution.bias
