"""The whole model, with everything that it saves, against the direct transcription of the equations."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_models import backbone_config, clip_geometry, pop_config, tiny_segmentor

from hclip_mmseg.clip import tokenize
from hclip_mmseg.reference import cost_aggregation as direct

NAMES = ("cat", "dog", "a very long name of a green traffic light", "grass", "sky")
FORMS = {
    "h-clip": {},
    "twice as many image layers": dict(clip=dict(model=clip_geometry(4, 2))),
    "without relation": dict(adapter={**pop_config(), "relation": None}),
    "cat-seg": dict(adapter=dict(type="TrainedProjections")),
    "plain": dict(adapter=None),
}


@pytest.fixture(params=FORMS)
def model(request):
    return tiny_segmentor(names=NAMES, backbone=backbone_config(**FORMS[request.param]))


def tokens_of(names):
    return tokenize(names, ("A photo of a {} in the scene",))[:, 0]


def test_scores(model):
    image = torch.randn(3, 70, 90)
    model.overlap = 0.5  # windows that fill the canvas, as 384 with stride 256 fill 640
    transcription = direct.Direct(model)
    with torch.no_grad():
        text = transcription.text(tokens_of(NAMES))
        expected = transcription.slide(image, text, canvas=96, window=64, overlap=0.5)
    torch.testing.assert_close(model.score(image).scores, expected, rtol=0, atol=1e-4)


def test_more_names_than_the_class_attention_holds():
    names = [f"thing number {index}" for index in range(21)]
    model = tiny_segmentor(names=tuple(names))
    image = torch.randn(1, 3, 64, 64)
    transcription = direct.Direct(model)
    with torch.no_grad():
        expected = transcription.logits(image, transcription.text(tokens_of(names)))
        found = model.decode_head(model.extract_feat(image))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_loss_and_gradients(model):
    model.train()
    images, labels = torch.randn(2, 3, 64, 64), torch.randint(0, len(NAMES), (2, 64, 64))
    labels[:, :9] = 255
    samples = []
    for own in labels:
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=own[None])
        samples.append(sample)
    transcription = direct.Direct(model)
    results = []
    for loss in (
        model.loss(images, samples)["decode.loss_bce"],
        transcription.loss(images, labels, tokens_of(NAMES)),
    ):
        model.zero_grad()
        loss.backward()
        gradients = {
            name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        results.append((loss.detach(), gradients))
    (found, gradients), (expected, expected_gradients) = results
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    for name, gradient in expected_gradients.items():
        difference = float((gradients[name] - gradient).norm() / gradient.norm().clamp(min=1e-6))
        assert difference < 1e-3, f"{name}: {difference}"
