"""The published CAT-Seg, number for number, through this project's own path.

tests/golden holds what the published implementation computes with weights that are drawn from the parameters'
names; its README gives the tolerances: 1e-4 on scores, relative 1e-3 on loss and gradients.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_numbers import FOLDER, draw_state, read_arrays, read_json
from mmengine import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image

from hclip_mmseg.apis import OpenVocabInferencer, inferencer
from hclip_mmseg.conversion import to_ours


@pytest.fixture(scope="module")
def golden():
    return read_json("cat-seg"), read_arrays("cat-seg"), draw_state("cat-seg")


@pytest.fixture(scope="module")
def whole_config(repository):
    return Config.fromfile(repository / "configs/cat_seg/cat-seg_vitb16_coco-stuff.py")


@pytest.fixture(scope="module")
def model(golden, whole_config):
    facts, _, state = golden
    init_default_scope("mmseg")
    config = whole_config.copy().model
    config.backbone.clip.pretrained = None
    config.data_preprocessor.size = None
    segmentor = MODELS.build(config)
    missing, unexpected = segmentor.load_state_dict(to_ours({"model": state})["state_dict"], strict=False)
    assert not missing and not unexpected
    segmentor.set_vocabulary(facts["classes"])
    return segmentor.eval()


def normalised(image: np.ndarray) -> torch.Tensor:
    mean = torch.tensor([122.7709383, 116.7460125, 104.09373615])[:, None, None]
    std = torch.tensor([68.5005327, 66.6321579, 70.32316305])[:, None, None]
    return (torch.from_numpy(image).float() - mean) / std


def assert_scores(found: torch.Tensor, expected: np.ndarray) -> None:
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-4)


def test_text_embeddings(model, golden):
    with torch.no_grad():
        text = model.text_encoder(model.backbone.encode_text, model.backbone.text_parameters())
    assert_scores(text[:, 0], golden[1]["text"])


def test_dense_tokens(model, golden):
    with torch.no_grad():
        tokens, _ = model.backbone.adapted_tower("image")(normalised(golden[1]["img384"])[None])
    assert_scores(tokens[0, ::16], golden[1]["dense"])


def test_whole_view(model, golden, monkeypatch):
    monkeypatch.setattr(model, "mode", "whole")
    board = model.score(normalised(golden[1]["img384"]))
    assert board.scores.shape == (7, 384, 384)
    assert_scores(board.scores[:, ::4, ::4], golden[1]["whole"])


def test_sliding_window(model, golden):
    sample = SegDataSample(metainfo=dict(ori_shape=(480, 640)))
    result = model.predict(normalised(golden[1]["img"])[None], [sample])[0]
    assert_scores(result.seg_logits.data[:, ::4, ::4], golden[1]["slide"])
    assert result.vocabulary == tuple(golden[0]["classes"])
    assert torch.equal(result.pred_sem_seg.data[0], result.seg_logits.data.argmax(dim=0))


def assert_file(scores: torch.Tensor, labels: torch.Tensor) -> None:
    """The published scores and label map of cat-seg-file.png, of 375 x 500 pixels."""
    expected = read_arrays("cat-seg-file")
    assert_scores(scores[:, ::5, ::5], expected["scores"])
    assert labels.shape == (375, 500) and (labels.numpy() == expected["label"]).mean() >= 0.999


def test_from_the_file_through_the_inferencer(model, golden, whole_config, monkeypatch):
    monkeypatch.setattr(inferencer, "build_model", lambda config, checkpoint: model)
    ask, file = OpenVocabInferencer(whole_config, device="cpu"), FOLDER / "cat-seg-file.png"
    (result,) = ask(file, golden[0]["classes"], scores=True)
    assert_file(torch.from_numpy(result.scores), torch.from_numpy(result.labels))

    (direct,) = OpenVocabInferencer(whole_config, device="cpu", resize="direct")(file, scores=True)
    difference = abs(direct.scores - result.scores).max()
    assert 1e-3 < difference < 1e-2, "as docs/cat_seg.md says"
    assert 0.95 < (direct.labels == result.labels).mean() < 0.99


def test_from_the_file_through_the_config_s_test_pipeline(model, whole_config, tmp_path):
    labels = tmp_path / "labels.png"
    Image.fromarray(read_arrays("cat-seg-file")["label"]).save(labels)
    pipeline = Compose([TRANSFORMS.build(step) for step in whole_config.test_dataloader.dataset.pipeline])
    file = dict(img_path=str(FOLDER / "cat-seg-file.png"), seg_map_path=str(labels), seg_fields=[])
    packed = pipeline({**file, "label_map": None, "reduce_zero_label": False})
    with torch.no_grad():
        (sample,) = model.test_step(pseudo_collate([packed]))
    assert_file(sample.seg_logits.data, sample.pred_sem_seg.data[0])
    assert (sample.gt_sem_seg.data[0] == sample.pred_sem_seg.data[0]).float().mean() >= 0.999


def test_loss_and_gradients(model, golden):
    facts, arrays, _ = golden
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(arrays["label"]).long()[None])
    model.train()
    try:
        loss = model.loss(normalised(arrays["img384"])[None], [sample])["decode.loss_bce"]
        loss.backward()
    finally:
        model.eval()
    assert float(loss) == pytest.approx(facts["loss"], rel=1e-3)
    found = published_gradient_norms(model)
    missing = set(facts["grad_norm"]) - set(found)
    assert not missing
    for name, expected in facts["grad_norm"].items():
        assert found[name] == pytest.approx(expected, rel=1e-3, abs=1e-7), name
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == facts["trainable"]


def published_gradient_norms(model) -> dict[str, float]:
    """Gradient norms under the published names: the gradients travel through the converter as if weights."""
    from hclip_mmseg.conversion import to_published

    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }
    published = to_published({"state_dict": gradients, "meta": {"published": {"kind": "cat-seg"}}})["model"]
    return {name: float(F.normalize(value.flatten(), dim=0) @ value.flatten()) for name, value in published.items()}


@pytest.mark.gpu
def test_scores_on_a_gpu(model, golden):
    _, arrays, _ = golden
    there = copy.deepcopy(model).cuda()
    precision = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        sample = SegDataSample(metainfo=dict(ori_shape=(480, 640)))
        result = there.predict(normalised(arrays["img"])[None].cuda(), [sample])[0]
    finally:
        torch.set_float32_matmul_precision(precision[0])
        torch.backends.cudnn.allow_tf32 = precision[1]
    found = result.seg_logits.data[:, ::4, ::4].cpu()
    torch.testing.assert_close(found, torch.from_numpy(arrays["slide"]), rtol=0, atol=1e-5)
