"""Published checkpoints of MAFT+ and FC-CLIP, to this project's and back."""

from __future__ import annotations

import pytest
import torch
from tiny_maft_plus import batch, tiny_maft_plus

from hclip_mmseg.conversion import recognise, to_ours, to_published

CLIP = "backbone.clip_model."
PIXELS = "sem_seg_head.pixel_decoder."
PREDICTOR = "sem_seg_head.predictor."


def published_names() -> set[str]:
    """Of a MAFT+ whose pixel decoder has 2 layers and whose decoder has 3, as detectron2 lists them."""
    both = ("weight", "bias")
    names = {"void_embedding.weight", CLIP + "logit_scale", PREDICTOR + "logit_scale"}
    for level in range(3):
        names |= {f"{PIXELS}input_proj.{level}.{part}.{kind}" for part in (0, 1) for kind in both}
    names |= {PIXELS + "transformer.level_embed"}
    for layer in range(2):
        parts = [f"self_attn.{p}" for p in ("sampling_offsets", "attention_weights", "value_proj", "output_proj")]
        parts += ["norm1", "linear1", "linear2", "norm2"]
        names |= {f"{PIXELS}transformer.encoder.layers.{layer}.{part}.{kind}" for part in parts for kind in both}
    # convolutions before a norm have no bias
    names |= {f"{PIXELS}{part}.{kind}" for part in ("mask_features", "adapter_1.norm", "layer_1.norm") for kind in both}
    names |= {PIXELS + "adapter_1.weight", PIXELS + "layer_1.weight"}
    attention = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    for layer in range(3):
        for kind, module in (("self", "self_attn"), ("cross", "multihead_attn")):
            prefix = f"{PREDICTOR}transformer_{kind}_attention_layers.{layer}."
            names |= {f"{prefix}{module}.{part}" for part in attention} | {f"{prefix}norm.{kind}" for kind in both}
        prefix = f"{PREDICTOR}transformer_ffn_layers.{layer}."
        names |= {f"{prefix}{part}.{kind}" for part in ("linear1", "linear2", "norm") for kind in both}
    names |= {f"{PREDICTOR}{part}.{kind}" for part in ("decoder_norm", "_mask_pooling_proj.0") for kind in both}
    names |= {f"{PREDICTOR}_mask_pooling_proj.1.{kind}" for kind in both}
    names |= {f"{PREDICTOR}{part}.weight" for part in ("query_feat", "query_embed", "level_embed")}
    for part in ("mask_embed", "class_embed"):
        names |= {f"{PREDICTOR}{part}.layers.{number}.{kind}" for number in range(3) for kind in both}
    return names


def model_and_published(**changes):
    model = tiny_maft_plus(cdt=dict(type="semantic"), **changes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model, to_published({"state_dict": model.state_dict()})["model"]


def test_names_are_the_published_ones():
    _, published = model_and_published()
    tower = {name for name in published if name.startswith(CLIP)}
    transfer = {name for name in published if name.startswith("cdt.cross_atten.")}
    assert set(published) - tower - transfer == published_names() - {CLIP + "logit_scale"}
    parts = ("multihead_attn.in_proj_weight", "multihead_attn.in_proj_bias", "multihead_attn.out_proj.weight",
             "multihead_attn.out_proj.bias", "norm.weight", "norm.bias", "MLP.weight", "MLP.bias")  # fmt: skip
    assert transfer == {f"cdt.cross_atten.{part}" for part in parts}
    expected = ("visual.trunk.stem.0.weight", "visual.trunk.stages.3.blocks.1.mlp.fc2.bias")
    expected += ("visual.trunk.head.norm.weight", "visual.head.mlp.fc1.weight", "positional_embedding")
    expected += ("transformer.resblocks.0.attn.in_proj_weight", "text_projection", "token_embedding.weight")
    assert {CLIP + name for name in (*expected, "ln_final.bias", "logit_scale")} <= tower


def extras() -> dict[str, torch.Tensor]:
    return {
        "criterion.empty_weight": torch.ones(172),
        "backbone_t.clip_model.visual.trunk.stem.0.weight": torch.randn(2, 2),
        CLIP + "attn_mask": torch.zeros(77, 77),
        "pixel_mean": torch.zeros(3, 1, 1),
    }


def same(first: dict, second: dict) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_a_published_checkpoint_comes_back_entry_for_entry():
    _, published = model_and_published()
    published = {**extras(), **published}
    # the names inside the transfer are not ours to know
    published = {name.replace("cross_atten.norm", "cross_atten.norm2"): value for name, value in published.items()}
    converted = to_ours({"model": published, "iteration": 60000})
    assert same(to_published(converted)["model"], published)
    note = converted["meta"]["published"]
    assert (note["kind"], note["vocabulary"]) == ("maft+", "coco_stuff_171@maft-plus")
    panoptic = to_ours({"model": {**published, "criterion.empty_weight": torch.ones(134)}})
    assert panoptic["meta"]["published"]["vocabulary"] == "coco_panoptic_133@maft-plus"


@torch.no_grad()
def test_a_converted_checkpoint_computes_the_same():
    model, published = model_and_published()
    other = tiny_maft_plus(seed=5, cdt=dict(type="semantic"))
    other.load_state_dict(to_ours({"model": {**published, **extras()}})["state_dict"])
    pairs = zip(model.eval().scored_masks(*batch()), other.eval().scored_masks(*batch()), strict=True)
    for (scores, masks), (other_scores, other_masks) in pairs:
        assert torch.equal(scores, other_scores) and torch.equal(masks, other_masks)


def test_fc_clip_is_maft_plus_without_transfer():
    frozen = dict(backbone=dict(frozen_stages=4), rc=None, mask_aware_loss=None)
    model = tiny_maft_plus(cdt=None, **frozen)
    published = to_published({"state_dict": model.state_dict()})["model"]
    assert recognise(published) == "fc-clip"
    model.load_state_dict(to_ours(published)["state_dict"])


def test_what_was_never_published_is_refused():
    with pytest.raises(ValueError, match=r"cdt.layers.0.attention.in_proj_weight|cdt.layers.1"):
        to_published({"state_dict": tiny_maft_plus().state_dict()})
    _, published = model_and_published()
    with pytest.raises(ValueError, match="1 parameters of the maft. checkpoint have names .* sem_seg_head.new"):
        to_ours({"model": {**published, "sem_seg_head.new": torch.zeros(1)}})
    with pytest.raises(ValueError, match="one attention, one linear layer and one norm"):
        to_ours({"model": {**published, "cdt.cross_atten.second.weight": torch.zeros(2, 2)}})
