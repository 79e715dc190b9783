"""The Segment Anything Model: read from its own file, and what it sees in an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.files.checkpoints import check_fits, read_state_dict
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.paths import locate, looked_in
from hclip_mmseg.training_free.timm_features import CLIP_MEAN, CLIP_STD

DECODER_HEADS = 8
"""Of the mask decoder's attention, which the shapes of the weights do not tell."""


class SAMView(NamedTuple):
    """What SAM sees in an image.

    Attributes:
        features: of the image encoder, [1, channels, side, side], the padding included.
        tokens: what goes into the attention of its last block, [side, side, width].
        pixels: height and width of the image without padding, in pixels of SAM's input.
        grid: rows and columns of patches of the image without padding.
    """

    features: Tensor
    tokens: Tensor
    pixels: tuple[int, int]
    grid: tuple[int, int]


class SegmentAnything(nn.Module):
    """A frozen SAM; see :func:`read_sam`.

    Args:
        sam: the model of the package ``segment-anything``.
        mean, std: of the images that come, in 0..255.
    """

    def __init__(self, sam: Any, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD) -> None:
        super().__init__()
        self.sam = sam
        self.register_buffer("scale", torch.tensor(std).view(3, 1, 1) / sam.pixel_std, persistent=False)
        self.register_buffer("shift", (torch.tensor(mean).view(3, 1, 1) - sam.pixel_mean) / sam.pixel_std, False)
        self._last: tuple[Tensor, SAMView] | None = None

    @property
    def side(self) -> int:
        """Height and width of SAM's input in pixels, 1024 as published."""
        return int(self.sam.image_encoder.img_size)

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.side // self.sam.prompt_encoder.image_embedding_size[0])

    def look(self, image: Tensor) -> SAMView:
        """What SAM sees in an image [3, H, W] that is normalised for CLIP; of the last image it is kept.

        The longer side is brought to SAM's input, the other to the nearest multiple of a patch.
        """
        if self._last is not None and self._last[0] is image:
            return self._last[1]
        height, width = image.shape[-2:]
        factor = self.side / max(height, width)
        rows, columns = (max(round(length * factor / self.patch), 1) for length in (height, width))
        size = (rows * self.patch, columns * self.patch)
        prepared = F.interpolate(image[None], size=size, mode="bilinear", antialias=True)
        prepared = prepared * self.get_buffer("scale") + self.get_buffer("shift")
        prepared = F.pad(prepared, (0, self.side - size[1], 0, self.side - size[0]))
        seen: list[Tensor] = []
        hook = self.sam.image_encoder.blocks[-1].attn.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            features = self.sam.image_encoder(prepared)
        finally:
            hook.remove()
        view = SAMView(features, seen[0][0], size, (rows, columns))
        self._last = (image, view)
        return view


_OPEN: WeakValueDictionary[tuple[Path, int], SegmentAnything] = WeakValueDictionary()


def read_sam(weights: str) -> SegmentAnything:
    """SAM of its published file, such as ``sam_vit_b_01ec64.pth``; the geometry is that of the weights.

    All parts of a model that name one file have one SAM, which looks at an image once.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else, or the package ``segment-anything`` is missing.
    """
    path = locate(weights)
    if path is None:
        raise FileNotFoundError(
            f"no weights of SAM: looked for at {looked_in(weights)}. A model that is asked for by its name fetches "
            "them (--model)"
        )
    key = (path.resolve(), path.stat().st_mtime_ns)
    found = _OPEN.get(key)
    if found is None:
        _OPEN[key] = found = SegmentAnything(_read(path))
    return found


def check_package() -> None:
    """Check that SAM's own package is installed.

    Raises:
        ValueError: if it is not.
    """
    if find_spec("segment_anything") is None:
        raise InputError("SAM needs the package segment-anything: pip install 'hclip-mmseg[sam]'")


def _read(path: Path) -> Any:
    check_package()
    state = read_state_dict(path)
    try:
        sam = _built_for(state)
    except (KeyError, IndexError, ZeroDivisionError, AssertionError) as error:
        raise InputError(f"{path} does not hold a SAM's weights, such as those of sam_vit_b_01ec64.pth") from error
    check_fits(sam, state, path)
    sam.load_state_dict(state)
    return sam.eval().requires_grad_(False)


def _built_for(state: Mapping[str, Tensor]) -> Any:
    """A SAM of the geometry that weights have."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    side = state["image_encoder.pos_embed"].shape[1]
    width, _, patch, _ = state["image_encoder.patch_embed.proj.weight"].shape
    depth = _count(state, "image_encoder.blocks.")
    reach = [(len(state[f"image_encoder.blocks.{index}.attn.rel_pos_h"]) + 1) // 2 for index in range(depth)]
    channels = state["image_encoder.neck.0.weight"].shape[0]
    whole = [index for index in range(depth) if reach[index] == side]
    encoder = ImageEncoderViT(
        img_size=side * patch,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=width // state["image_encoder.blocks.0.attn.rel_pos_h"].shape[1],
        mlp_ratio=state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / width,
        out_chans=channels,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=next((own for own in reach if own != side), side),
        global_attn_indexes=whole,
    )
    if depth - 1 not in whole:
        raise KeyError("the last block's attention is not of the whole image")
    hidden = state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0]
    transformer = TwoWayTransformer(
        depth=_count(state, "mask_decoder.transformer.layers."),
        embedding_dim=channels,
        mlp_dim=state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        num_heads=DECODER_HEADS,
    )
    decoder = MaskDecoder(
        num_multimask_outputs=len(state["mask_decoder.mask_tokens.weight"]) - 1,
        transformer=transformer,
        transformer_dim=channels,
        iou_head_depth=_count(state, "mask_decoder.iou_prediction_head.layers."),
        iou_head_hidden_dim=hidden,
    )
    prompts = PromptEncoder(
        embed_dim=channels,
        image_embedding_size=(side, side),
        input_image_size=(side * patch, side * patch),
        mask_in_chans=state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    )
    return Sam(encoder, prompts, decoder)


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})
