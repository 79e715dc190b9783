"""What models do on a GPU, told without one where that can be; tests marked ``gpu`` need it."""

from __future__ import annotations

import copy

import pytest
import torch
from fake_gpu import GIBI, cut_as_on_a_gpu, fake_gpu
from miniature import REPOSITORY
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_detectors import tiny_detector
from tiny_models import HEAD, backbone_config, clip_geometry, tiny_segmentor
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from training_free.tiny_training_free import textured_images, tiny_training_free

from hclip_mmseg.costs.kernels import Kernels
from hclip_mmseg.models import OpenVocabSegmentor, device_memory
from hclip_mmseg.models.cost_aggregation import CostAggregator
from hclip_mmseg.models.cost_aggregation.chunks import Chunks, MapBytes, fitting_chunks
from hclip_mmseg.models.necks import text_batches
from hclip_mmseg.models.necks.text_batches import shared_start

NAMES = ("cat", "red star", "grass")
FORMS = {"h-clip": {}, "cat-seg": dict(adapter=dict(type="TrainedProjections")), "plain": dict(adapter=None)}


def images_on(device: str, count: int = 2, height: int = 64, width: int = 64) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)


def labelled(device: str, count: int = 2, names: int = 3) -> list[SegDataSample]:
    samples = []
    for number in range(count):
        sample = SegDataSample(metainfo=dict(names_checked=names))
        sample.gt_sem_seg = PixelData(data=torch.full((1, 64, 64), number % names, device=device))
        samples.append(sample)
    return samples


# ---- devices


@pytest.mark.parametrize("name", FORMS)
def test_a_segmentor_mixes_no_devices_and_never_waits(name):
    model = tiny_segmentor(names=NAMES, backbone=backbone_config(**FORMS[name]))
    with fake_gpu(model), Kernels() as kernels:
        found = model.eval().predict(torch.empty(2, 3, 80, 100, device="cuda"))
        losses = model.train().loss(torch.empty(2, 3, 64, 64, device="cuda"), labelled("cuda"))
        assert found[1].pred_sem_seg.data.device.type == losses["decode.loss_bce"].device.type == "cuda"
    assert not kernels.waits


def test_a_training_free_model_mixes_no_devices_and_never_waits():
    model = tiny_training_free(attention="sclip").eval()
    model.set_vocabulary(NAMES)
    with fake_gpu(model), Kernels() as kernels:
        found = model.predict(torch.empty(2, 3, 64, 64, device="cuda"))
        assert found[1].pred_sem_seg.data.device.type == "cuda"
    assert not kernels.waits


def test_a_detector_mixes_no_devices_up_to_where_it_needs_a_number():
    """MMDetection's heads look at numbers: there a pass without any ends."""
    model = tiny_detector().eval()
    model.set_vocabulary(NAMES)
    shape = (64, 64)
    meta = dict(ori_shape=shape, img_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0), pad_shape=shape)
    samples = [SegDataSample(metainfo=meta) for _ in range(2)]
    with fake_gpu(model), Kernels() as kernels, torch.no_grad():
        with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
            model.predict(torch.empty(2, 3, *shape, device="cuda"), samples)
    assert kernels.calls.total() > 100


# ---- chunks


OF_MAP = MapBytes(always=3, spatial=20, decoder=10, forward=8)


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (33 * 684, Chunks(None)),
        (33 * 684 - 1, Chunks(171, spatial_again=True)),
        (23 * 684, Chunks(171, spatial_again=True)),
        (13 * 684, Chunks(57, spatial_again=True)),
        (13 * 684 - 1, Chunks(57, spatial_again=True, decoder_again=True)),
        (0, Chunks(8, spatial_again=True, decoder_again=True)),
    ],
)
def test_what_does_not_fit_is_computed_again_and_no_more(allowed, expected):
    assert fitting_chunks(allowed, OF_MAP, batch=4, classes=171, gradients=True) == expected


@pytest.mark.parametrize(("allowed", "expected"), [(8 * 684, None), (8 * 684 - 1, 86), (0, 8)])
def test_without_gradients_as_many_maps_at_once_as_fit(allowed, expected):
    assert fitting_chunks(allowed, OF_MAP, batch=4, classes=171, gradients=False) == Chunks(expected)


@pytest.mark.parametrize("changes", [dict(), dict(layers=3), dict(dim=64, decoder_channels=(32, 16))])
def test_bytes_of_a_class_map_are_what_autograd_keeps(changes):
    aggregator = CostAggregator(training_chunk=None, text_channels=64, **changes)
    kept = {classes: kept_bytes(aggregator, classes) for classes in (4, 8)}
    of_map = aggregator.map_bytes(places=12 * 12, number=4)
    assert of_map.always + of_map.spatial + of_map.decoder == pytest.approx((kept[8] - kept[4]) / 4, rel=0.1)
    aggregator.training_chunk = 1
    kept = {classes: kept_bytes(aggregator, classes) for classes in (4, 8)}
    assert of_map.always == pytest.approx((kept[8] - kept[4]) / 4, rel=0.1)


def kept_bytes(aggregator: CostAggregator, classes: int) -> int:
    """Bytes that a forward pass over a grid of 12 x 12 keeps, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in aggregator.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor
        return tensor

    guidance = (torch.randn(1, 256, 24, 24), torch.randn(1, 128, 48, 48))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        aggregator(torch.randn(1, 64, 12, 12), guidance, torch.randn(classes, 1, 64))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_chunks_follow_the_memory_that_is_free():
    aggregator = CostAggregator()
    cost = torch.empty(4, 1, 171, 24, 24)
    assert aggregator.chunks(cost) == Chunks(8, True, True)  # on a CPU 32 maps, whatever is free
    with cut_as_on_a_gpu(80 * GIBI):
        assert aggregator.chunks(cost) == Chunks(None)
    with cut_as_on_a_gpu(24 * GIBI):
        assert aggregator.chunks(cost).decoder_again is False
        with torch.autocast("cpu", torch.bfloat16):
            assert aggregator.chunks(cost) == Chunks(None)
    with cut_as_on_a_gpu(8 * GIBI):
        assert 8 < aggregator.chunks(cost).size < 171


def test_under_deterministic_algorithms_chunks_do_not_depend_on_what_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: pytest.fail("asked"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("", (), dict(total_memory=80 * GIBI)))
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert device_memory.allowance(torch.device("cuda"), 0.6) == 24 * GIBI


@pytest.mark.parametrize(("share", "expected"), [(1.0, 70), (0.5, 35), (0.2, 30)])
def test_a_limit_that_torch_was_given_counts_as_memory_in_use(share, expected, monkeypatch):
    """Of 80 GiB 40 are free; this process has reserved 35, of which 5 hold a tensor."""
    state = dict(mem_get_info=(40 * GIBI, 80 * GIBI), memory_reserved=35 * GIBI, memory_allocated=5 * GIBI)
    state["get_per_process_memory_fraction"] = share
    for name, value in state.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value, raising=False)
    assert device_memory.free_memory(torch.device("cuda")) == expected * GIBI


@pytest.mark.parametrize("chunk", ["all", 0, 1.5, True])
def test_a_chunk_is_a_number_of_maps(chunk):
    with pytest.raises(ValueError, match="training_chunk is a number of class maps"):
        CostAggregator(training_chunk=chunk)


@pytest.mark.parametrize("free", [GIBI, 1])
def test_losses_and_gradients_are_those_of_a_cpu_however_a_step_is_cut(free):
    found = []
    for cut in (False, True):
        model = tiny_segmentor(names=NAMES, backbone=backbone_config(checkpoint_text="auto")).train()
        with cut_as_on_a_gpu(free) if cut else torch.enable_grad():
            loss = model.loss(images_on("cpu"), labelled("cpu"))["decode.loss_bce"]
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("adapter", ["h-clip", "cat-seg"])
def test_many_names_in_chunks_with_common_starts_are_those_of_one_pass(adapter, monkeypatch):
    """Prompts that begin alike, texts computed again backward, chunks of class maps and of places: all at once."""
    names = tuple(f"thing {number}" for number in range(40))
    images, samples, found, starts = images_on("cpu"), labelled("cpu", 2, 40), [], []

    def start_of(tokens, ends) -> int:
        starts.append(shared_start(tokens, ends) if cut else 0)
        return starts[-1]

    monkeypatch.setattr(text_batches, "shared_start", start_of)
    for cut in (False, True):
        backbone = backbone_config(checkpoint_text="auto" if cut else False, **FORMS[adapter])
        chunk = "auto" if cut else None
        head = {**HEAD, "class_length": 64, "training_chunk": chunk, "inference_chunk": chunk}
        model = tiny_segmentor(names=names, backbone=backbone, decode_head=head)
        with cut_as_on_a_gpu(1) if cut else torch.enable_grad():
            chunks = model.decode_head.aggregator.chunks(torch.empty(2, 1, 40, 4, 4))
            assert chunks == (Chunks(14, True, True) if cut else Chunks(None))
            assert model.backbone.checkpoints_text(torch.zeros(40, 9, dtype=torch.long)) is cut
            loss = model.train().loss(images, samples)["decode.loss_bce"]
            assert (max(starts) > 3) is cut
            loss.backward()
            scores = [sample.seg_logits.data for sample in model.eval().predict(images_on("cpu", 2, 80, 100))]
        gradients_of = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found.append([loss.detach(), gradients_of, scores])
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-5)


def test_views_of_several_images_are_one_batch_on_a_gpu(monkeypatch):
    model, images = tiny_segmentor(names=NAMES), images_on("cpu", 3, 80, 100)
    batches = []
    run = model.backbone.forward
    monkeypatch.setattr(model.backbone, "forward", lambda views: batches.append(len(views)) or run(views))
    apart = [sample.seg_logits.data for sample in model.predict(images)]
    assert len(batches) == 3
    batches.clear()
    with cut_as_on_a_gpu():
        together = [sample.seg_logits.data for sample in model.predict(images)]
    assert len(batches) == 1 and batches[0] % 3 == 0
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


# ---- kernels


def test_a_training_step_of_four_crops_and_171_names_launches_few_kernels():
    """H-CLIP at the depth of ViT-B/16 under bfloat16, with the optimizer of the configs in the form that a GPU runs."""
    geometry = clip_geometry(12, 12)
    backbone = backbone_config(clip=dict(model=geometry), guidance_layers=(3, 7), checkpoint_text="auto")
    head = {**HEAD, "layers": 2, "class_length": 256}
    names = tuple(f"thing {number}" for number in range(171))
    model = tiny_segmentor(names=names, backbone=backbone, decode_head=head).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    settings = Config.fromfile(REPOSITORY / "configs/_base_/schedules/schedule_80k.py").optim_wrapper
    settings.optimizer.fused = True
    init_default_scope("mmseg")
    optimizer = build_optim_wrapper(model, settings).optimizer
    assert len(optimizer.param_groups) > 100
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # makes its states
    optimizer.zero_grad()
    samples = labelled("cpu", 4, 171)
    with torch.autocast("cpu", torch.bfloat16):
        model.extract_feat(images_on("cpu", 4))  # casts what is frozen, once for all steps
    model.backbone.adapter.forget()
    with cut_as_on_a_gpu(), Kernels() as kernels:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(images_on("cpu", 4), samples)["decode.loss_bce"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.01, foreach=True)
        optimizer.step()
    assert kernels.calls.total() <= 2_380 and kernels.calls["_to_copy"] <= 370 and not kernels.waits


# ---- half precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["h-clip", "cat-seg", "plain"])
def test_a_segmentor_cast_whole_predicts(name, dtype):
    model = tiny_segmentor(names=NAMES, backbone=backbone_config(**FORMS[name]))
    images = images_on("cpu", 1, 80, 100)
    expected = model.predict(images)[0].seg_logits.data
    found = model.to(dtype).predict(images)[0].seg_logits.data
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_training_free_model_cast_whole_predicts(dtype):
    model = tiny_training_free()
    model.set_vocabulary(NAMES)
    images = images_on("cpu", 1)
    expected = model.predict(images)[0].pred_sem_seg.data
    found = model.to(dtype).predict(images)[0].pred_sem_seg.data
    assert (found == expected).float().mean() >= 0.9


# ---- on a GPU


@pytest.mark.gpu
def test_a_training_step_never_waits_for_a_gpu():
    model = tiny_segmentor(names=NAMES).train().cuda()
    images, samples = images_on("cuda"), labelled("cuda")
    model.loss(images, samples)["decode.loss_bce"].backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        model.loss(images, samples)["decode.loss_bce"].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_losses_and_gradients_on_a_gpu_are_those_of_a_cpu():
    ours = tiny_segmentor(names=NAMES).train()
    found = [gradients(copy.deepcopy(ours).to(device), device) for device in ("cpu", "cuda")]
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-5)


@pytest.mark.gpu
def test_regions_and_labels_on_a_gpu_are_those_of_a_cpu():
    """CLIPtrase, whose clusters, medians and votes are found in other ways there; several images at once."""
    ours = tiny_training_free()
    ours.set_vocabulary(NAMES)
    images = textured_images(5)
    found = []
    for device in ("cpu", "cuda"):
        model = copy.deepcopy(ours).to(device)
        found.append(torch.stack([one.pred_sem_seg.data.cpu() for one in model.predict(images.to(device))]))
    assert len(found[0].unique()) > 1
    assert (found[0] == found[1]).float().mean() >= 0.99


@pytest.mark.gpu
def test_deterministic_algorithms_give_the_same_gradients_bit_for_bit(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    model = tiny_segmentor(names=NAMES).train().cuda()
    torch.use_deterministic_algorithms(True)
    try:
        first, second = gradients(model, "cuda"), gradients(model, "cuda")
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(own, other) for own, other in zip(first, second, strict=True))


def gradients(model: OpenVocabSegmentor, device: str) -> list[Tensor]:
    """The loss and all gradients of a step, on the CPU."""
    model.zero_grad()
    loss = model.loss(images_on(device), labelled(device))["decode.loss_bce"]
    loss.backward()
    return [loss.detach().cpu(), *(p.grad.cpu() for p in model.parameters() if p.grad is not None)]


@pytest.mark.gpu
def test_labels_under_bfloat16_are_those_of_fp32(repository):
    """On the tiny CLIP, which is trained, and scenes that it knows."""
    from mmseg.registry import MODELS

    from hclip_mmseg.apis import launch
    from hclip_mmseg.demo_assets.scenes import SCENE_CLASSES, render_scene

    config = launch.read_config(str(repository / "configs/training_free/naclip_tiny_scenes.py"))
    model = MODELS.build(config.model).cuda().eval()
    model.set_vocabulary(SCENE_CLASSES)
    scenes = [torch.from_numpy(render_scene(0, index, 192).image).permute(2, 0, 1) for index in range(8)]
    batch = model.data_preprocessor(dict(inputs=scenes, data_samples=[SegDataSample() for _ in scenes]), False)
    expected = [sample.pred_sem_seg.data for sample in model.predict(**batch)]
    with torch.autocast("cuda", torch.bfloat16):
        found = [sample.pred_sem_seg.data for sample in model.predict(**batch)]
    assert (torch.stack(found) == torch.stack(expected)).float().mean() >= 0.995
