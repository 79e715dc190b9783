"""SED: a tuned ConvNeXt CLIP and the gradual fusion decoder."""

from __future__ import annotations

from hclip_mmseg.conversion.cat_seg import (
    CLASS_ATTENTION,
    CLIP_MODEL,
    PREDICTOR,
    UPSAMPLE,
    WITHOUT_WEIGHTS,
)
from hclip_mmseg.conversion.clip import clip_rules
from hclip_mmseg.conversion.kind import Kind, Rule

STEPS = 3
_PLACES = {"conv_dw": "dwconv", "norm": "norm", "mlp.fc1": "pwconv1", "mlp.fc2": "pwconv2", "gamma": "gamma"}


def decoder_rules() -> tuple[Rule, ...]:
    """The names of the decoder's parameters."""
    parts = {"embed_cost": "conv1", "guidance_projections": "decoder_guidance_projection", f"scores.{STEPS}": "head"}
    for number in range(STEPS):
        step, published = f"steps.{number}.", f"decoder{number + 1}."
        parts |= {f"scores.{number}": f"head{number}", f"{step}cost": f"decoder_corr_guidance_projection.{number}"}
        parts |= {f"{step}places.{own}": f"{published}cnext.{theirs}" for own, theirs in _PLACES.items()}
        parts |= {f"{step}upsample.{own}": published + theirs for own, theirs in UPSAMPLE.items()}
        for own, theirs in CLASS_ATTENTION.items():
            parts[f"{step}classes.{own}"] = f"{published}attention.{theirs}"
    return tuple((f"decode_head.decoder.{own}", f"{PREDICTOR}transformer.{theirs}") for own, theirs in parts.items())


SED = Kind(
    name="sed",
    rules=(*clip_rules(CLIP_MODEL), *decoder_rules()),
    published=(r"^sem_seg_head\.predictor\.transformer\.decoder_corr_guidance_projection\.",),
    ours=r"^decode_head\.decoder\.steps\.",
    aside=WITHOUT_WEIGHTS,
)
