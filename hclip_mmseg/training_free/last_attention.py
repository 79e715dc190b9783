"""The last block of a frozen CLIP, made to say what each patch shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.adapters.base import Block
from hclip_mmseg.clip.attention import Projections, attend


@dataclass(frozen=True)
class Form:
    """What a method makes of the last block.

    Attributes:
        pairs: what is compared with what, 'qk', 'qq', 'kk' or 'vv'; the attention is the sum of their softmaxes.
            () for none: each token keeps its own value.
        sigma: in patches, of the Gaussian window that is added to the scores; None for no window.
        residual: whether the block's input is added.
        mlp: whether the block's MLP follows.
    """

    pairs: tuple[str, ...]
    sigma: float | None = None
    residual: bool = True
    mlp: bool = True

    @property
    def correlated(self) -> bool:
        """Whether tokens are compared with their like."""
        return any(pair[0] == pair[1] for pair in self.pairs)


FORMS: Mapping[str, Form] = {
    "clip": Form(("qk",)),
    "value": Form((), residual=False, mlp=False),
    "sclip": Form(("qq", "kk")),
    "cliptrase": Form(("qq", "kk", "vv")),
    "clearclip": Form(("qq",), residual=False, mlp=False),
    "naclip": Form(("kk",), sigma=5.0, residual=False, mlp=False),
}
"""CLIP's own; the value path (MaskCLIP, section 3); SCLIP, section 3.2; CLIPtrase, section 3.2; ClearCLIP; NACLIP."""
SIMILARITIES = ("inner", "cosine")


def run_last_block(
    block: Block,
    x: Tensor,
    projections: Projections,
    form: str | Form,
    similarity: str = "inner",
    allowed: Tensor | None = None,
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """The last block with a method's attention; see :data:`FORMS`.

    Every product is scaled by head_dim^-0.5 inside its softmax; the weighted sums are of v.

    Args:
        block: an ``open_clip`` ResidualAttentionBlock.
        x: [batch, 1 + patches, width], the CLS token first.
        projections: what computes q, k, v and out.
        form: one of :data:`FORMS`, or another.
        similarity: of the pairs of like: 'inner', the product itself, or 'cosine', where the vectors of every
            head are first brought to one length, that of a vector of ones.
        allowed: bool [batch, 1 + patches, 1 + patches], which tokens each may attend to; None for all. At least
            itself. For forms with pairs of like.
        grid: rows and columns of patches; needed for a form with a window.

    Returns:
        [batch, 1 + patches, width].

    Raises:
        ValueError: on another form or similarity, or where ``allowed`` is given for a form that cannot use it.
    """
    chosen = check_form(form, similarity)
    if not chosen.correlated and (allowed is not None or similarity != "inner"):
        raise ValueError(f"the form {form!r} of the last block correlates nothing; choose 'sclip' or 'cliptrase'")
    heads = block.attn.num_heads
    normed = projections.normed("ln_1", block.ln_1(x))
    if not chosen.pairs:
        return finish_last_block(block, x, projections.value(normed), projections, chosen)
    parts = dict(zip("qkv", projections.qkv(normed), strict=True))
    bias = None
    if allowed is not None:
        bias = torch.zeros(allowed.shape, dtype=x.dtype, device=x.device).masked_fill_(~allowed, -torch.inf)
    if chosen.sigma is not None:
        if grid is None:
            raise ValueError("a form of the last block with a window needs the grid of patches")
        window = neighbour_window(grid, chosen.sigma, x.device).to(x.dtype)[None]
        bias = window if bias is None else bias + window
    mixed = torch.zeros_like(parts["v"])
    for pair in chosen.pairs:
        own, other = parts[pair[0]], parts[pair[1]]
        if similarity == "cosine":
            own, other = _of_one_length(own, heads), _of_one_length(other, heads)
        mixed += attend(own, other, parts["v"], heads, bias=bias)
    return finish_last_block(block, x, mixed, projections, chosen)


def attention_weights(
    block: Block,
    x: Tensor,
    projections: Projections,
    form: str | Form,
    similarity: str = "inner",
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """What :func:`run_last_block` mixes the values by, written out to be looked at; arguments as there.

    Returns:
        [batch, heads, 1 + patches, 1 + patches]; of a form without pairs, each token itself.
    """
    chosen, heads = check_form(form, similarity), block.attn.num_heads
    if not chosen.pairs:
        return torch.eye(x.shape[1], device=x.device).expand(len(x), heads, -1, -1)
    parts = dict(zip("qkv", projections.qkv(projections.normed("ln_1", block.ln_1(x))), strict=True))
    total = torch.zeros(())
    for pair in chosen.pairs:
        own, other = parts[pair[0]], parts[pair[1]]
        if similarity == "cosine":
            own, other = _of_one_length(own, heads), _of_one_length(other, heads)
        own, other = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (own, other))
        scores = own @ other.mT * own.shape[-1] ** -0.5
        if chosen.sigma is not None and grid is not None:
            scores = scores + neighbour_window(grid, chosen.sigma, x.device).to(scores.dtype)
        total = total.to(scores) + scores.softmax(dim=-1)
    return total


def finish_last_block(block: Block, x: Tensor, mixed: Tensor, projections: Projections, form: Form) -> Tensor:
    """What follows the attention: out(mixed), with the block's residual and MLP where the form keeps them.

    Args:
        block: an ``open_clip`` ResidualAttentionBlock.
        x: what went into the block, [..., width]; not looked at without residual.
        mixed: what its attention made of the values, [..., width].
        projections: what computes out.
        form: says what is kept.

    Returns:
        [..., width].
    """
    y = block.ls_1(projections.out(mixed))
    if form.residual:
        y = x + y
    if form.mlp:
        y = y + block.ls_2(projections.mlp(block.mlp, projections.normed("ln_2", block.ln_2(y))))
    return y


def neighbour_window(grid: tuple[int, int], sigma: float, device: torch.device | None = None) -> Tensor:
    """What is added to the scores of patches that lie near each other (NACLIP, section 3.2).

    exp(-d^2 / (2 sigma^2)) for patches at distance d; 0 where the CLS token is one of the two.

    Args:
        grid: rows and columns of patches.
        sigma: in patches, above 0.
        device: of the result.

    Returns:
        [1 + patches, 1 + patches].

    Raises:
        ValueError: if sigma is not above 0.
    """
    check_sigma(sigma)
    along = [torch.arange(side, dtype=torch.float, device=device) for side in grid]
    rows, columns = (torch.exp(-(x[:, None] - x).square() / (2 * sigma**2)) for x in along)
    patches = grid[0] * grid[1]
    window = torch.zeros(1 + patches, 1 + patches, device=device)
    window[1:, 1:] = torch.einsum("ab,cd->acbd", rows, columns).reshape(patches, patches)  # the Gaussian separates
    return window


def check_sigma(sigma: object) -> None:
    """Raises a ValueError if the sigma of a window is no number above 0."""
    if not isinstance(sigma, int | float) or not sigma > 0:
        raise ValueError(f"the window's sigma must be above 0 patches, not {sigma!r}")


def check_form(form: str | Form, similarity: str = "inner") -> Form:
    """The form of a name.

    Raises:
        ValueError: on a form or similarity that :func:`run_last_block` does not know.
    """
    if not isinstance(form, Form):
        if form not in FORMS:
            raise ValueError(f"no form {form!r} of the last block's attention; choose from {', '.join(FORMS)}")
        form = FORMS[form]
    strange = [pair for pair in form.pairs if len(pair) != 2 or not set(pair) <= set("qkv")]
    if strange:
        raise ValueError(f"pairs of the last block's attention are of q, k and v, such as 'qk'; not {strange[0]!r}")
    if form.sigma is not None:
        check_sigma(form.sigma)
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity must be 'inner' or 'cosine', not {similarity!r}")
    return form


def _of_one_length(x: Tensor, heads: int) -> Tensor:
    split = x.unflatten(-1, (heads, -1))
    return (F.normalize(split, dim=-1) * split.shape[-1] ** 0.5).flatten(-2)


def within_regions(labels: Tensor) -> Tensor:
    """Which tokens may attend to each other where only patches of one region may.

    Args:
        labels: [batch, patches] the region of each patch.

    Returns:
        bool [batch, 1 + patches, 1 + patches]; the CLS token attends to all, no patch to it.
    """
    batch, patches = labels.shape
    allowed = torch.zeros(batch, 1 + patches, 1 + patches, dtype=torch.bool, device=labels.device)
    allowed[:, 0] = True
    allowed[:, 1:, 1:] = labels[:, :, None] == labels[:, None, :]
    return allowed
