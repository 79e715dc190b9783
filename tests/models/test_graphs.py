"""Passes as one graph each, passes that compare no parameters, and what they hand to the device."""

from __future__ import annotations

import pytest
import torch
from fake_gpu import fake_gpu
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_models import HEAD, backbone_config, tiny_segmentor
from torch import Tensor, nn
from torch.export import Dim

from hclip_mmseg.adapters import ParameterVersions
from hclip_mmseg.adapters.held import forget, settle
from hclip_mmseg.costs.kernels import Kernels
from hclip_mmseg.models import OpenVocabSegmentor
from hclip_mmseg.models.cost_aggregation import windows

NAMES = ("cat", "red star", "grass")
MANY = tuple(f"thing {number}" for number in range(20))  # more than HEAD's class_length of 16
VIEWS = dict(mode="slide_whole", canvas=96, window=64, clip_resolution=64)
ROUNDING = dict(rtol=0, atol=4e-6)
"""Eager CPUs compute elu + 1 in a faster form."""
FORMS = {"h-clip": {}, "cat-seg": dict(adapter=dict(type="TrainedProjections")), "plain": dict(adapter=None)}


def random_images(batch: int = 1, height: int = 64, width: int = 64) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def form(name: str, names: tuple[str, ...] = NAMES) -> OpenVocabSegmentor:
    return tiny_segmentor(names=names, backbone=backbone_config(**FORMS[name]))


class NamedPass(nn.Module):
    """Images and text embeddings -> scores."""

    def __init__(self, model: OpenVocabSegmentor) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, text: Tensor) -> Tensor:
        *guidance, dense = self.model.backbone(images)
        return self.model.decode_head((dense, *guidance, text))


# ---- graphs


@pytest.mark.parametrize("name", FORMS)
@torch.no_grad()
def test_a_segmentors_pass_is_exported_before_it_ever_ran(name):
    windows.forget_layouts()
    path, images = form(name).image_pass(), random_images()
    exported = torch.export.export(path, (images,), strict=False).module()
    torch.testing.assert_close(exported(images), path(images), **ROUNDING)


@torch.no_grad()
def test_a_pass_is_what_predict_computes():
    model, images = form("h-clip"), random_images()
    text = model.text_encoder(model.backbone.encode_text, model.backbone.text_parameters())
    torch.testing.assert_close(model.image_pass()(images)[0], NamedPass(model)(images, text), rtol=0, atol=0)


@torch.no_grad()
def test_a_pass_holds_neither_adapters_nor_the_text_tower():
    names = [name for name, _ in form("h-clip").image_pass().named_parameters()]
    assert not [name for name in names if "adapter" in name or "text_tower" in name]
    assert any("image_tower" in name for name in names)


@torch.no_grad()
def test_a_pass_stays_as_it_was_made():
    model, images = form("h-clip"), random_images()
    path = model.image_pass()
    expected = path(images)
    model.set_vocabulary(["dog"])
    model.backbone.adapter.tensor.add_(0.1)
    torch.testing.assert_close(path(images), expected, rtol=0, atol=0)
    assert model.image_pass()(images)[0].shape[1] == 1


@torch.no_grad()
def test_of_more_names_than_the_head_holds_a_pass_gives_the_indices_too():
    path, images = form("plain", MANY).image_pass(), random_images()
    exported = torch.export.export(path, (images,), strict=False).module()
    logits, kept = exported(images)
    assert logits.shape[:2] == kept.shape == (1, 16)
    torch.testing.assert_close((logits, kept), path(images), **ROUNDING)


@torch.no_grad()
def test_one_graph_serves_every_batch():
    model = form("h-clip")
    model.decode_head.aggregator.inference_chunk = None
    path, batch = model.image_pass(), Dim("batch", min=1, max=64)
    exported = torch.export.export(path, (random_images(2),), strict=False, dynamic_shapes=({0: batch},)).module()
    for size in (1, 2, 5):
        images = random_images(size)
        torch.testing.assert_close(exported(images), path(images), **ROUNDING)


@pytest.mark.parametrize(("fewest", "most", "tried"), [(2, 15, (2, 7, 15)), (17, 500, (17, 90))])
@torch.no_grad()
def test_one_graph_serves_every_number_of_names(fewest, most, tried):
    model, images = form("plain"), random_images()
    model.decode_head.aggregator.inference_chunk = None
    path, names = NamedPass(model), Dim("names", min=fewest, max=most)
    text = torch.nn.functional.normalize(torch.randn(most, 1, 32), dim=-1)
    exported = torch.export.export(
        path, (images, text[: tried[1]]), strict=False, dynamic_shapes=(None, {0: names})
    ).module()
    for count in tried:
        torch.testing.assert_close(exported(images, text[:count]), path(images, text[:count]), **ROUNDING)


@torch.no_grad()
def test_a_segmentors_pass_is_one_compiled_graph():
    path, images = form("h-clip").image_pass(), random_images()
    compiled = torch.compile(path, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images), path(images), **ROUNDING)


@torch.no_grad()
def test_a_compiled_pass_is_not_compiled_for_every_number_of_names():
    model, images, graphs = form("plain"), random_images(), []
    model.decode_head.aggregator.inference_chunk = None

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    path = NamedPass(model)
    compiled = torch.compile(path, fullgraph=True, backend=count)
    text = torch.nn.functional.normalize(torch.randn(15, 1, 32), dim=-1)
    for names in (4, 6, 9, 13, 15):
        torch.testing.assert_close(compiled(images, text[:names]), path(images, text[:names]), **ROUNDING)
    assert len(graphs) == 2, "one of the first number, one of every number"


@pytest.mark.parametrize("name", FORMS)
@torch.no_grad()
def test_a_pass_on_a_gpu_can_be_a_cuda_graph(name):
    """torch records no graph that holds a tensor in main memory, a size that is open, or waits for a number."""
    path = form(name, MANY).image_pass()
    with fake_gpu(path), Kernels() as kernels:
        exported = torch.export.export(path, (torch.empty(2, 3, 64, 64, device="cuda"),), strict=False)
    assert not kernels.waits
    made = [node.meta["val"] for node in exported.graph.nodes if isinstance(node.meta.get("val"), Tensor)]
    assert len(made) > 100 and {value.device.type for value in made} == {"cuda"}
    assert all(isinstance(side, int) for value in made for side in value.shape)


def test_predictions_through_torch_compile_follow_names_and_weights():
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    plain, images = form("h-clip"), random_images(2, 80, 100)
    compiled = tiny_segmentor(names=NAMES, test_cfg=dict(VIEWS, compile=dict(backend=count)))
    compiled.load_state_dict(plain.state_dict())
    for change in ("nothing", "weights", "names"):
        for model in (plain, compiled):
            if change == "weights":
                with torch.no_grad():
                    model.backbone.adapter.tensor.add_(0.1)
            elif change == "names":
                model.set_vocabulary(["dog", "cat"])
        found, expected = ([sample.seg_logits.data for sample in model.predict(images)] for model in (compiled, plain))
        torch.testing.assert_close(found, expected, **ROUNDING)
        assert len(graphs) == (2 if change == "names" else 1)


def test_settings_of_compilation_are_checked():
    with pytest.raises(ValueError, match="test_cfg.compile must be True, False or arguments of torch.compile, not 'x'"):
        tiny_segmentor(names=NAMES, test_cfg=dict(VIEWS, compile="x"))


# ---- passes that compare nothing


def test_a_settled_model_compares_no_parameters(monkeypatch):
    model = tiny_segmentor(names=NAMES)
    images = random_images(1, 80, 100)
    expected = model.predict(images)[0].seg_logits.data

    def current(self, parameters):
        raise AssertionError("compared")

    with monkeypatch.context() as patch:
        patch.setattr(ParameterVersions, "current", current)
        settle(model)
        assert torch.equal(model.predict(images)[0].seg_logits.data, expected)
    with torch.no_grad():
        model.backbone.adapter.tensor.add_(0.1)
        forget(model)
    assert not torch.allclose(model.predict(images)[0].seg_logits.data, expected)


# ---- what the device gets


def training_batch(model: OpenVocabSegmentor, wrong: int | None = None) -> dict:
    """A batch of two as it comes from the loader."""
    labels = torch.randint(0, len(model.vocabulary), (2, 1, 64, 64), generator=torch.Generator().manual_seed(1))
    labels[:, :, :5] = 255
    if wrong is not None:
        labels[1, 0, 9, 9] = wrong
    samples = [SegDataSample(gt_sem_seg=PixelData(data=own)) for own in labels]
    images = list((random_images(2) * 60 + 120).clamp(0, 255).byte())
    return dict(inputs=images, data_samples=samples)


def training_kernels(model: OpenVocabSegmentor) -> Kernels:
    """What a step's forward and backward pass hand to the device, the batch being there."""
    batch = model.data_preprocessor(training_batch(model), True)
    with Kernels() as kernels:
        sum(value for name, value in model.loss(**batch).items() if "loss" in name).backward()
    return kernels


@pytest.mark.parametrize("name", ["h-clip", "cat-seg"])
def test_a_training_step_never_waits_for_the_device(name):
    assert not training_kernels(form(name).train()).waits


@pytest.mark.parametrize("training", [dict(training=True), None])
def test_labels_are_checked_before_they_leave_main_memory(training):
    model = form("plain").train()
    batch = training_batch(model, wrong=7)
    arguments = (batch, True) if training is None else (batch,)
    with pytest.raises(ValueError, match="label 7 in a label map is outside the vocabulary of 3 names"):
        model.data_preprocessor(*arguments, **(training or {}))
    model.data_preprocessor(batch, False)  # in an evaluation the metric checks them


def test_labels_checked_for_fewer_names_are_checked_again():
    model = form("plain")
    batch = model.data_preprocessor(training_batch(model), True)
    model.set_vocabulary(["cat"])
    with pytest.raises(ValueError, match="outside the vocabulary of 1 names"):
        model.loss(**batch)


@pytest.mark.parametrize("name", FORMS)
def test_scores_of_an_image_never_wait_for_the_device(name):
    model = form(name)
    with Kernels() as kernels:
        model.score(random_images(1, 80, 100)[0])
    assert kernels.calls and not kernels.waits


def test_an_image_of_more_names_than_the_head_holds_waits_once():
    model = form("plain", MANY)
    with Kernels() as kernels:
        model.score(random_images(1, 80, 100)[0])
    assert kernels.waits == {"_unique2": 1}


@torch.no_grad()
def test_kernels_of_150_names_in_windows():
    """Launches cost a GPU more time than its arithmetic does: the number may fall, and not grow unseen."""
    head = {**HEAD, "class_length": 256}
    model = tiny_segmentor(names=tuple(f"thing {number}" for number in range(150)), decode_head=head)
    image = random_images(1, 80, 100)[0]
    model.score(image)
    with Kernels() as kernels:
        model.score(image)
    assert kernels.calls.total() <= 3_450


@pytest.mark.parametrize(("chunk", "most"), [(32, 2_900), (None, 980)])
def test_kernels_of_a_training_step(chunk, most):
    head = {**HEAD, "class_length": 256, "training_chunk": chunk}
    model = tiny_segmentor(names=tuple(f"thing {number}" for number in range(100)), decode_head=head).train()
    assert training_kernels(model).calls.total() <= most
