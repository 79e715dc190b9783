"""H-CLIP, CAT-Seg and the PEFT baselines trained on EVA, SigLIP, CLIPA, MetaCLIP 2 and timm's ViT, a few steps each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from adapters.test_every_adapter import OPTIONS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from other_towers import KINDS, geometry, tiny_tokenizer
from tiny_eva import GEOMETRY as EVA01
from tiny_models import HEAD, backbone_config, tiny_segmentor

from hclip_mmseg.adapters.build import ADAPTERS
from hclip_mmseg.models import OpenVocabSegmentor

NAMES = ("cat", "traffic light", "sky")
TOWERS = ("eva01", *KINDS)
SYSTEMS = ("POP", "TrainedProjections", "LoRA")  # H-CLIP's, CAT-Seg's, and the usual one
CASES = [(tower, kind) for tower in TOWERS for kind in ADAPTERS if kind in SYSTEMS or tower == "siglip"]
CASES.append(("clipa", "SSF"))  # without a norm before the first block


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def built(tower: str, adapter: str | None, tokenizer: str, seed: int = 0) -> OpenVocabSegmentor:
    clip = geometry(tower, tokenizer) if tower != "eva01" else {**EVA01, "text_cfg": {**EVA01["text_cfg"], "layers": 3}}
    settings: dict[str, Any] | None = None if adapter is None else dict(type=adapter, **OPTIONS.get(adapter, {}))
    return tiny_segmentor(
        seed,
        NAMES,
        backbone=backbone_config(clip=dict(model=clip), adapter=settings),
        decode_head={**HEAD, "text_channels": clip["embed_dim"]},
        test_cfg=dict(mode="whole", window=32, clip_resolution=32),
    )


def test_a_head_that_is_set_up_for_another_tower_says_what_to_set(tokenizer):
    clip = dict(model=geometry("siglip", tokenizer))
    for changes, said in (
        (dict(backbone=backbone_config(clip=clip)), "text_channels=32.*48: set model.decode_head.text_channels=48$"),
        (
            dict(backbone=backbone_config(guidance_layers=(), guidance_channels=())),
            r"aggregator.guidance_channels=\(16, 8\).*set model.decode_head.aggregator.guidance_channels=\(\)$",
        ),
        (
            dict(text_encoder=dict(type="TextEncoderNeck", templates="vild", average=False)),
            "templates=1.*set model.decode_head.templates=14$",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            tiny_segmentor(**changes)


def test_templates_that_stand_apart_stay_as_many():
    neck = dict(type="TextEncoderNeck", templates=("a {}", "{}"), average=False)
    model = tiny_segmentor(names=NAMES, text_encoder=neck, decode_head={**HEAD, "templates": 2})
    model.set_templates(("one {}", "the {}"))
    for ask in (lambda: model.set_templates("{}"), lambda: model.set_vocabulary(("dog",), "vild")):
        with pytest.raises(ValueError, match="each of 2 templates by itself, and .* are given: give as many"):
            ask()
    assert model.vocabulary == NAMES and model.templates == ("one {}", "the {}")


def losses(model: OpenVocabSegmentor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    sample = SegDataSample(metainfo=dict(ori_shape=(32, 32), img_shape=(32, 32)))
    sample.gt_sem_seg = PixelData(data=torch.randint(0, len(NAMES), (1, 32, 32), generator=generator))
    return model.loss(torch.randn(1, 3, 32, 32, generator=generator), [sample])["decode.loss_bce"]


def logits(model: OpenVocabSegmentor) -> torch.Tensor:
    images = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(3))
    return model.decode_head(model.eval().extract_feat(images))


@pytest.mark.parametrize(("tower", "adapter"), CASES)
def test_two_steps_train_what_is_to_be_trained_and_fold_and_load_again(tower, adapter, tokenizer):
    model = built(tower, adapter, tokenizer).train()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    frozen = {name: value.clone() for name, value in model.named_parameters() if name not in trained}
    dead = {f"backbone.{numbers.parameter}" for numbers in model.backbone.dead_parameters() if numbers.where == ()}
    assert any("adapter" in name for name in trained) and any("decode_head" in name for name in trained)
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        losses(model).backward()
        for name, parameter in trained.items():
            if name not in dead:
                assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
        optimizer.step()
    after = dict(model.named_parameters())
    assert all(after[name].grad is None and torch.equal(after[name], value) for name, value in frozen.items())

    unfolded = logits(model).detach()
    with torch.no_grad():
        torch.testing.assert_close(logits(model), unfolded, rtol=1e-3, atol=1e-4)
        again = built(tower, adapter, tokenizer, seed=1)
        assert (logits(again) - unfolded).abs().max() > 1e-3
        again.load_state_dict(model.state_dict())
        torch.testing.assert_close(logits(again), unfolded, rtol=1e-3, atol=1e-4)
