"""What tools/benchmark.py measures: each row builds its model and gives a function to be timed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import hclip_mmseg  # noqa: F401 (registers)
from hclip_mmseg.clip import tokenize
from hclip_mmseg.datasets.vocabularies import load_vocabulary

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs/hclip/hclip_vitb16_coco-stuff.py"
WHOLE = (7, 59, 150, 459, 847)
ROWS = (
    "encode",
    "text-171",
    "text-847",
    *(f"whole-{count}" for count in WHOLE),
    "slide-7",
    "train-171",
    "encode-folded",
    "train-adapters",
)
"""Names of the rows. The last two compare H-CLIP with the frozen CLIP instead of with the direct form."""

Step = Callable[[], object]


def names(count: int) -> list[str]:
    """The first ``count`` names of ADE20K's 847; those that stand there twice are numbered apart."""
    found: dict[str, None] = {}
    for name in load_vocabulary("ade20k_847").names:
        found[name if name not in found else f"{name} {len(found)}"] = None
    return list(found)[:count]


def build(device: str, **backbone):
    """H-CLIP ViT-B/16 with random weights."""
    config = Config.fromfile(CONFIG).model
    config.backbone.clip.pretrained = None
    config.backbone.update(backbone)
    init_default_scope("mmseg")
    torch.manual_seed(0)
    return MODELS.build(config).to(device)


def direct_of(model):
    """The direct transcription on the model's weights; it lives in the tests."""
    sys.path.insert(0, str(ROOT / "tests"))
    from direct import Direct

    return Direct(model)


def tokens_of(count: int, device: str) -> torch.Tensor:
    return tokenize(names(count), ("A photo of a {} in the scene",))[:, 0].to(device)


def prepare(row: str, form: str, device: str) -> Step:
    """The function that one row times in one form.

    Args:
        row: one of ``ROWS``.
        form: 'ours'; 'direct', the transcription; 'frozen', plain CLIP (for the last two rows).
        device: where it runs.
    """
    kind, _, count = row.partition("-")
    if kind == "train":
        return _training_step(171, form, device)
    adapter = {"adapter": None} if form == "frozen" else {}
    model = build(device, **adapter).eval()
    if kind == "encode":
        return _encode(model, form, device)
    if kind == "text":
        return _text(model, form, int(count), device)
    return _view(model, form, int(count), device, slide=kind == "slide")


def _encode(model, form: str, device: str) -> Step:
    image = torch.randn(1, 3, 384, 384, device=device)
    if form != "direct":
        return lambda: model.backbone(image)
    pop = direct_of(model).pop
    from direct import encode_image

    return lambda: encode_image(model.backbone, pop, image)


def _text(model, form: str, count: int, device: str) -> Step:
    if form == "direct":
        tokens, transcription = tokens_of(count, device), direct_of(model)
        return lambda: transcription.text(tokens)
    model.set_vocabulary(names(count))

    def ours():
        model.text_encoder.drop_cache()
        return model.text_encoder(model.backbone.encode_text, model.backbone.text_parameters())

    return ours


def _view(model, form: str, count: int, device: str, slide: bool) -> Step:
    image = torch.randn(3, 480, 640, device=device) if slide else torch.randn(3, 384, 384, device=device)
    if form == "direct":
        transcription = direct_of(model)
        text = torch.nn.functional.normalize(torch.randn(count, 1, 512, device=device), dim=-1)
        if slide:
            return lambda: transcription.slide(image, text)
        return lambda: transcription.logits(image[None], text)
    model.set_vocabulary(names(count))
    if not slide:
        model.mode = "whole"
    return lambda: model.score(image)


def _training_step(count: int, form: str, device: str) -> Step:
    adapter = {"adapter": None} if form == "frozen" else {}
    model = build(device, **adapter).train()
    model.set_vocabulary(names(count))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    image = torch.randn(1, 3, 384, 384, device=device)
    labels = torch.randint(0, count, (1, 384, 384), device=device)
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=labels)
    if form == "direct":
        transcription, tokens = direct_of(model), tokens_of(count, device)

    def step() -> None:
        optimizer.zero_grad()
        if form == "direct":
            loss = transcription.loss(image, labels, tokens)
        else:
            loss = model.loss(image, [sample])["decode.loss_bce"]
        loss.backward()
        optimizer.step()

    return step
