"""H-CLIP ViT-B/16 with random weights against the equations written out, frozen CLIP and itself in fp32."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import hclip_mmseg  # noqa: F401 (registers)
from hclip_mmseg.apis import launch
from hclip_mmseg.clip import tokenize
from hclip_mmseg.costs.rows.row import Row, Step
from hclip_mmseg.models.segmentors.open_vocab_segmentor import CHECKED
from hclip_mmseg.reference import cost_aggregation
from hclip_mmseg.vocabularies import load_vocabulary

CONFIG = "configs/hclip/hclip_vitb16_coco-stuff.py"
LARGE = "configs/hclip/hclip_vitl14_coco-stuff.py"


def names(count: int) -> list[str]:
    """The first ``count`` names of ADE20K's 847; those that stand there twice are numbered apart."""
    found: dict[str, None] = {}
    for name in load_vocabulary("ade20k_847").names:
        found[name if name not in found else f"{name} {len(found)}"] = None
    return list(found)[:count]


def build(form: str, device: str, path: str = CONFIG) -> Any:
    """Build H-CLIP, or for the form 'frozen' the same model without adapters."""
    config = launch.read_config(path).model
    config.backbone.clip.pretrained = None
    if form == "frozen":
        config.backbone.adapter = None
    init_default_scope("mmseg")
    torch.manual_seed(0)
    return MODELS.build(config).to(device)


def direct_of(model: Any) -> cost_aggregation.Direct:
    """The equations written out, on the model's weights."""
    return cost_aggregation.Direct(model)


def tokens_of(count: int, device: str) -> torch.Tensor:
    """Tokens [count, 77] of the first names in a prompt."""
    return tokenize(names(count), ("A photo of a {} in the scene",))[:, 0].to(device)


def encode(form: str, device: str, size: int = 384) -> Step:
    """CLIP's dense features of one image."""
    model = build(form, device).eval()
    image = torch.randn(1, 3, size, size, device=device)
    if form != "direct":
        return lambda: model.backbone(image)
    pop = direct_of(model).pop
    return lambda: cost_aggregation.encode_image(model.backbone, pop, image)


def text(form: str, device: str, count: int) -> Step:
    """Text embeddings of a vocabulary."""
    model = build(form, device).eval()
    if form == "direct":
        tokens, transcription = tokens_of(count, device), direct_of(model)
        return lambda: transcription.text(tokens)
    model.set_vocabulary(names(count))
    model.text_encoder.cache = False

    def ours() -> object:
        model.text_encoder.forget()
        return model.text_encoder(model.backbone.encode_text, model.backbone.text_parameters())

    return ours


def view(form: str, device: str, count: int, size: int = 384) -> Step:
    """A whole view of ``size`` pixels a side, text cached."""
    model = build(form, device).eval()
    image = torch.randn(3, size, size, device=device)
    if form == "direct":
        transcription, embeddings = direct_of(model), embeddings_of(count, device)
        return lambda: transcription.logits(image[None], embeddings)
    model.set_vocabulary(names(count))
    model.mode, model.clip_resolution, model.window = "whole", size, size
    cache_text(model)
    return lambda: model.score(image)


def slide(form: str, device: str, count: int, images: int = 1) -> Step:
    """Windows and the whole view of images of 480 x 640, text cached."""
    model = build(form, device).eval()
    batch = torch.randn(images, 3, 480, 640, device=device)
    if form == "direct":
        transcription, embeddings = direct_of(model), embeddings_of(count, device)
        return lambda: [transcription.slide(image, embeddings) for image in batch]
    model.set_vocabulary(names(count))
    cache_text(model)
    return lambda: [board.size for board in model.scores(batch)]


def cache_text(model: Any) -> None:
    """Embed the vocabulary, which its first image pays for, before operations are counted."""
    with torch.no_grad():
        model.text_encoder(model.backbone.encode_text, model.backbone.text_parameters())


def embeddings_of(count: int, device: str) -> torch.Tensor:
    """Random unit embeddings [count, 1, 512] of a vocabulary."""
    return torch.nn.functional.normalize(torch.randn(count, 1, 512, device=device), dim=-1)


def train(
    form: str, device: str, count: int = 171, images: int = 1, path: str = CONFIG, bound: int | None = None
) -> Step:
    """A training step of crops of 384 pixels, which ViT-L/14 sees at 336: forward, backward, AdamW.

    Args:
        form, device: see :class:`Row`.
        count: names.
        images: crops.
        path: of the config.
        bound: bytes of a GPU's memory that the process may take, unless the form is 'unbounded'; None for all.
    """
    if bound is not None and device == "cuda" and form == "ours":
        torch.cuda.set_per_process_memory_fraction(bound / torch.cuda.get_device_properties(0).total_memory)
    model = build(form, device, path).train()
    model.set_vocabulary(names(count))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # as the configs have it
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=True if device == "cuda" and form != "direct" else None)
    image = torch.randn(images, 3, 384, 384, device=device)
    labels = torch.randint(0, count, (images, 384, 384), device=device)
    samples = []
    for own in labels:  # random labels are of the vocabulary; data loaders check theirs before they reach a GPU
        sample = SegDataSample(metainfo={CHECKED: count})
        sample.gt_sem_seg = PixelData(data=own[None])
        samples.append(sample)
    if form == "direct":
        transcription, tokens = direct_of(model), tokens_of(count, device)

    def step() -> None:
        optimizer.zero_grad()
        if form == "direct":
            loss = transcription.loss(image, labels, tokens)
        else:
            loss = model.loss(image, samples)["decode.loss_bce"]
        loss.backward()
        optimizer.step()

    return step


WHOLE_TARGETS = {7: 1 / 6, 150: 1 / 6}
SAME = 1.02  # the same work; the rest is what two processes differ by
NAMES, SIDE = "names", "image side, pixels, 7 names"
ROWS = (
    Row("encode-384", encode),
    Row("text-171", partial(text, count=171), time_target=1 / 5),
    Row("text-847", partial(text, count=847), time_target=1 / 25),
    Row("whole-7", partial(view, count=7), time_target=WHOLE_TARGETS[7], plot=((NAMES, 7), (SIDE, 384))),
    *(
        Row(f"whole-{count}", partial(view, count=count), time_target=WHOLE_TARGETS.get(count), plot=((NAMES, count),))
        for count in (59, 150, 459, 847)
    ),
    *(Row(f"whole-7-at-{size}", partial(view, count=7, size=size), plot=((SIDE, size),)) for size in (192, 576, 768)),
    Row("slide-7", partial(slide, count=7), time_target=1 / 10),
    *(Row(f"slide-{count}", partial(slide, count=count)) for count in (150, 847)),
    Row("slide-150-images-8", partial(slide, count=150, images=8)),
    Row("train-171", train, training=True, time_target=1 / 8, memory_target=1 / 4),
    Row("train-171-images-4", partial(train, images=4), training=True),
    Row(
        "train-171-images-4-within-8-gb",
        partial(train, images=4, bound=8 * 10**9),
        other="unbounded",
        training=True,
        gpu=True,
    ),
    Row("train-l14-171-images-4", partial(train, images=4, path=LARGE), training=True, gpu=True),
    Row("train-171-adapters", train, other="frozen", training=True, time_target=1.05),
    Row("encode-384-folded", encode, other="frozen", time_target=SAME),
    Row("text-171-folded", partial(text, count=171), other="frozen", time_target=SAME),
    Row("encode-384-bf16", encode, other="fp32", time_target=1.0, memory_target=1.0),
    Row("whole-150-bf16", partial(view, count=150), other="fp32", time_target=1.0, memory_target=1.0),
    Row("train-171-bf16", train, other="fp32", training=True, time_target=1.0, memory_target=1.0),
)
