"""FISA's image tower with random weights against one sequence of image and mask tokens under one attention mask."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from hclip_mmseg.costs.rows.row import Row, Step
from hclip_mmseg.mask_classification import semantic_labels
from hclip_mmseg.mask_classification.fisa import FISACLIP
from hclip_mmseg.reference import fisa as direct

WIDTHS = {"ViT-B-16": 512, "ViT-L-14-336": 768}


def build(device: str, model: str, size: int) -> FISACLIP:
    """Build FISA's CLIP, the text tower left at random since only its embeddings' width matters here."""
    torch.manual_seed(0)
    clip = FISACLIP(clip=dict(model=model), resolution=size, seve=dict(), distribution_adapter=dict())
    clip.to(device)
    return clip


def inputs(device: str, model: str, size: int, names: int, proposals: int) -> tuple[torch.Tensor, ...]:
    """An image, mask logits at a quarter of its size, and text embeddings."""
    images = torch.randn(1, 3, size, size, device=device)
    masks = torch.randn(1, proposals, size // 4, size // 4, device=device) - 1
    return images, masks, F.normalize(torch.randn(names, WIDTHS[model], device=device), dim=-1)


def embed(
    form: str, device: str, names: int = 150, proposals: int = 100, model: str = "ViT-B-16", size: int = 448
) -> Step:
    """Mask embeddings of one image, text cached."""
    clip = build(device, model, size).eval()
    images, masks, text = inputs(device, model, size, names, proposals)
    return lambda: _embeddings(clip, form, images, masks, text)


def train(
    form: str, device: str, names: int = 133, proposals: int = 100, model: str = "ViT-B-16", size: int = 448
) -> Step:
    """A training step of one image: embeddings, cross-entropy over names, AdamW."""
    clip = build(device, model, size).train()
    images, masks, text = inputs(device, model, size, names, proposals)
    labels = torch.randint(0, names, (proposals,), device=device)
    optimizer = torch.optim.AdamW([p for p in clip.parameters() if p.requires_grad], lr=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        found = F.normalize(_embeddings(clip, form, images, masks, text)[0], dim=-1)
        F.cross_entropy(100 * found @ text.T, labels).backward()
        optimizer.step()

    return step


def _embeddings(
    clip: FISACLIP, form: str, images: torch.Tensor, masks: torch.Tensor, text: torch.Tensor
) -> torch.Tensor:
    adapted = clip.adapt(masks)
    embeddings: torch.Tensor
    if form == "ours":
        embeddings = clip(images, adapted, text)
    else:
        embeddings = direct.embeddings(clip, images, adapted, text)
    return embeddings


def label(form: str, device: str, names: int, proposals: int = 100) -> Step:
    """The labels of an image of 480 x 640 from scored masks; the direct form holds every name's map at once."""
    torch.manual_seed(0)
    scores = torch.randn(proposals, names, device=device).mul(5).softmax(dim=-1)
    masks = torch.rand(proposals, 480, 640, device=device)
    if form == "ours":
        return lambda: semantic_labels(scores, masks)
    return lambda: torch.einsum("qt,qhw->thw", scores, masks).argmax(dim=0)


ROWS = (
    *(
        Row(f"fisa-names-{names}", partial(embed, names=names), plot=(("FISA: names", names),))
        for names in (7, 59, 150, 459, 847)
    ),
    *(
        Row(f"fisa-proposals-{proposals}", partial(embed, proposals=proposals), plot=(("FISA: proposals", proposals),))
        for proposals in (25, 100, 200, 400)
    ),
    Row("fisa-vitl14-896", partial(embed, model="ViT-L-14-336", size=896)),
    Row("fisa-train-133", train, training=True),
    *(Row(f"fisa-labels-{names}", partial(label, names=names)) for names in (150, 847)),
)
