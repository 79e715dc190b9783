"""What published checkpoints call the parts that this project calls otherwise."""

from __future__ import annotations

from collections.abc import Iterator

PREDICTOR = "sem_seg_head.predictor."
CLIP_MODEL = PREDICTOR + "clip_model."

_SWIN = {"norm1": "norm1", "norm2": "norm2", "attention": "attn", "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2"}
_CLASS = {
    "attention": "attention",
    "mlp.0": "MLP.0",
    "mlp.2": "MLP.2",
    "norm1": "norm1",
    "norm2": "norm2",
    "padding_token": "padding_tokens",
    "padding_guidance": "padding_guidance",
}
_DECODER = {
    "up": "up",
    "conv1": "conv.double_conv.0",
    "norm1": "conv.double_conv.1",
    "conv2": "conv.double_conv.3",
    "norm2": "conv.double_conv.4",
}


def head_names(layers: int) -> Iterator[tuple[str, str]]:
    """(our prefix, published prefix) of every part of the cost aggregator.

    Args:
        layers: number of aggregation layers.
    """
    yield from (
        ("embed_cost", "conv1"),
        ("appearance_projection", "guidance_projection"),
        ("text_projection", "text_guidance_projection"),
        ("decoder.guidance_projections", "decoder_guidance_projection"),
        ("decoder.score", "head"),
    )
    for step in range(2):
        for ours, published in _DECODER.items():
            yield f"decoder.steps.{step}.{ours}", f"decoder{step + 1}.{published}"
    for layer in range(layers):
        yield f"layers.{layer}.spatial.guidance_norm", f"layers.{layer}.swin_block.guidance_norm"
        for block in range(2):
            for ours, published in _SWIN.items():
                yield (
                    f"layers.{layer}.spatial.blocks.{block}.{ours}",
                    f"layers.{layer}.swin_block.block_{block + 1}.{published}",
                )
        for ours, published in _CLASS.items():
            yield f"layers.{layer}.classes.{ours}", f"layers.{layer}.attention.{published}"


def prefix_pairs(layers: int) -> list[tuple[str, str]]:
    """(our prefix, published prefix) of everything but the adapters, longest published prefix first."""
    pairs = [
        ("backbone.image_tower", CLIP_MODEL + "visual"),
        ("backbone.guidance_upsamples.0", "upsample1"),
        ("backbone.guidance_upsamples.1", "upsample2"),
        ("backbone.logit_scale", CLIP_MODEL + "logit_scale"),
    ]
    pairs += [
        (f"backbone.text_tower.{part}", CLIP_MODEL + part)
        for part in (
            "token_embedding",
            "positional_embedding",
            "transformer",
            "ln_final",
            "text_projection",
        )
    ]
    pairs += [
        (f"decode_head.aggregator.{ours}", f"{PREDICTOR}transformer.{published}")
        for ours, published in head_names(layers)
    ]
    return sorted(pairs, key=lambda pair: len(pair[1]), reverse=True)


def rename(name: str, pairs: list[tuple[str, str]]) -> str | None:
    """``name`` with the first matching prefix of ``pairs`` (from, to) replaced; None where none matches."""
    for source, target in pairs:
        if name == source or name.startswith(source + "."):
            return target + name[len(source) :]
    return None
