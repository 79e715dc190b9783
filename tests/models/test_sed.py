"""SED: its decoder against the equations over published parameters, its losses, early rejection, whole models."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_models import randomise
from tiny_sed import CHANNELS, GUIDANCE, PROJECTIONS, TRANSFORMER, literal_scores, published_shapes, tiny_sed

from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.compat import meta_device
from hclip_mmseg.conversion import to_ours, to_published
from hclip_mmseg.models import GradualFusionHead
from hclip_mmseg.models.features import HeadInputs
from hclip_mmseg.models.segmentors.views import shrunk

PREFIX = "sem_seg_head.predictor."


@pytest.fixture(scope="module")
def published():
    """The decoder's parameters as published, drawn at random."""
    generator = torch.Generator().manual_seed(0)
    shapes = published_shapes(3, 32, CHANNELS, GUIDANCE, PROJECTIONS)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def head(published):
    model = tiny_sed()
    state = to_ours({"model": published})["state_dict"]
    assert {f"decode_head.{name}" for name in model.decode_head.state_dict()} == state.keys()
    model.load_state_dict(state, strict=False)
    return model.decode_head.eval()


def inputs(batch: int = 1, names: int = 5) -> HeadInputs:
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(batch, GUIDANCE[i], 2 ** (i + 2), 2 ** (i + 1) * 3, generator=generator) for i in range(3)]
    dense = torch.randn(batch, 32, 2, 3, generator=generator)
    return HeadInputs(dense, maps, torch.randn(names, 3, 32, generator=generator))


def test_every_size_is_that_of_the_equations(published, head):
    given = inputs()
    expected, _ = literal_scores(published, given.dense, given.guidance, given.text, heads=2, pooling=1)
    with torch.no_grad():
        for scores, wanted in zip(
            head.decoder.all_scores(given.dense, given.guidance, given.text), expected, strict=True
        ):
            torch.testing.assert_close(scores[0], wanted, rtol=1e-4, atol=1e-4)
        logits, kept = head.most_similar(given)
    assert kept is None
    torch.testing.assert_close(logits[0], expected[-1], rtol=1e-4, atol=1e-4)


def test_training_pools_the_attention_between_classes(published, head):
    given = inputs()
    expected, _ = literal_scores(published, given.dense, given.guidance, given.text, heads=2, pooling=2)
    head.train()
    found = head.decoder.all_scores(given.dense, given.guidance, given.text)
    head.eval()
    for scores, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(scores[0], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ranks", [1, 2])
def test_names_that_are_nowhere_among_the_best_are_rejected_before_each_step(published, head, ranks, monkeypatch):
    given = inputs(names=12)
    expected, left = literal_scores(published, given.dense, given.guidance, given.text, 2, 1, ranks)
    assert 1 <= len(left) < 12
    monkeypatch.setattr(head.decoder, "kept_ranks", ranks)
    with torch.no_grad():
        logits, kept = head.most_similar(given)
        assert kept.tolist() == [left]
        torch.testing.assert_close(logits[0], expected[-1], rtol=1e-4, atol=1e-4)
        assert (head(given)[0, [name for name in range(12) if name not in left]] == -100).all()


@torch.no_grad()
def test_each_image_of_a_batch_rejects_for_itself(head, monkeypatch):
    monkeypatch.setattr(head.decoder, "kept_ranks", 1)
    given = inputs(batch=2, names=12)
    together = head(given)
    for index in range(2):
        alone = HeadInputs(
            given.dense[index : index + 1], [each[index : index + 1] for each in given.guidance], given.text
        )
        torch.testing.assert_close(head(alone)[0], together[index], rtol=1e-4, atol=1e-4)


def sample() -> SegDataSample:
    made = SegDataSample(metainfo=dict(ori_shape=(64, 64), img_shape=(64, 64)))
    made.gt_sem_seg = PixelData(data=torch.randint(0, 5, (1, 64, 64), generator=torch.Generator().manual_seed(2)))
    return made


def gradients(model) -> dict[str, torch.Tensor]:
    losses = model.loss(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)), [sample()])
    assert {name for name in losses if "loss" in name} == {
        "decode.loss_bce", *(f"decode.loss_bce_step{step}" for step in range(3))
    }  # fmt: skip
    sum(value for name, value in losses.items() if "loss" in name).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_what_trains_and_what_is_computed_again():
    model, again = tiny_sed(training_chunk=None).train(), tiny_sed(training_chunk=2).train()
    found = gradients(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert found.keys() == trained and all(gradient.isfinite().all() for gradient in found.values())
    assert not any("text_tower" in name or "image_tower.head" in name for name in trained)
    for name, gradient in gradients(again).items():
        torch.testing.assert_close(gradient, found[name], rtol=1e-3, atol=1e-6, msg=name)


def test_early_scores_and_guidance_send_no_gradient_back(head):
    given = inputs()
    given.dense.requires_grad_(True)
    maps = [each.requires_grad_(True) for each in given.guidance]
    *early, last = head.decoder.all_scores(given.dense, maps, given.text)
    sum(scores.sum() for scores in early[:1]).backward(retain_graph=True)
    assert given.dense.grad is None
    last.sum().backward()
    assert given.dense.grad.any() and all(each.grad is None for each in maps)


@pytest.mark.parametrize(
    ("letter", "width", "guidance"), [("b", 640, (512, 256, 128)), ("l", 768, (768, 384, 192))]
)
def test_published_names_and_shapes_are_the_configs(repository, letter, width, guidance):
    config = read_config(repository / f"configs/sed/sed_convnext-{letter}_coco-stuff.py")
    config.model.backbone.clip.pretrained = None
    with meta_device():
        model = MODELS.build(config.model)
    ours = model.state_dict()
    shapes = published_shapes(80, 128, (64, 32, 16), guidance, (32, 16, 8))
    names = to_published({"state_dict": ours})["model"]
    own = {name: tuple(value.shape) for name, value in names.items() if name.startswith(TRANSFORMER)}
    assert own == shapes
    assert names[f"{PREFIX}clip_model.text_projection"].shape == (width, width)
    assert f"{PREFIX}clip_model.visual.trunk.stages.3.blocks.2.mlp.fc2.weight" in names
    back = to_ours({"model": names})
    assert back["meta"]["published"]["kind"] == "sed"
    assert {name: value.shape for name, value in back["state_dict"].items()} == {
        name: value.shape for name, value in ours.items()
    }


def test_a_whole_model_goes_out_and_comes_back():
    model, other = tiny_sed(kept_ranks=2), tiny_sed(seed=1, kept_ranks=2)
    randomise(model, 0.05)
    image = torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8)
    data = dict(inputs=[image], data_samples=[SegDataSample(metainfo=dict(ori_shape=(60, 80), img_shape=(60, 80)))])
    other.load_state_dict(to_ours(to_published(dict(state_dict=model.state_dict())))["state_dict"])
    with torch.no_grad():
        expected, found = (each.test_step(data)[0].pred_sem_seg.data.clone() for each in (model, other))
    assert torch.equal(found, expected) and found.shape == (1, 60, 80) and len(found.unique()) > 1


@torch.no_grad()
def test_a_whole_view_is_read_at_the_towers_resolution_though_scores_are_coarser():
    model, seen = tiny_sed(), []
    model.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    image = torch.randn(3, 128, 128, generator=torch.Generator().manual_seed(5))
    canvas = model.score(image)
    assert torch.equal(seen[0][0], shrunk(image, 64)) and canvas.scores.shape == (5, 16, 16)


@torch.no_grad()
def test_the_pass_that_is_exported_is_the_models_without_rejection():
    model = tiny_sed()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    (logits,) = model.image_pass()(images)
    torch.testing.assert_close(logits, model.decode_head(model.extract_feat(images)))
    with pytest.raises(ValueError, match="set model.decode_head.decoder.kept_ranks=None"):
        tiny_sed(kept_ranks=1).image_pass()


def test_wrong_settings_are_said():
    for settings, said in (
        (dict(kept_ranks=0), "kept_ranks is at least 1"),
        (dict(channels=(64, 32)), "three numbers each"),
        (dict(training_chunk=0), "training_chunk is a number of class maps"),
    ):
        with pytest.raises(ValueError, match=said):
            GradualFusionHead(decoder=settings)
