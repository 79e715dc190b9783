"""The stand-in for mmcv's compiled operators."""

import itertools
import os
import subprocess
import sys
from types import ModuleType

import pytest
import torch

from hclip_mmseg.compat import MissingMMCVOpError, ensure_mmcv_ops
from hclip_mmseg.compat.mmcv_ops import EXTENSION


@pytest.fixture
def ops():
    if not ensure_mmcv_ops():
        pytest.skip("mmcv has its compiled operators here")
    import mmcv.ops

    return mmcv.ops


def slow_nms(boxes, scores, threshold, offset):
    kept = []
    for index in scores.argsort(descending=True).tolist():
        x1, y1, x2, y2 = boxes[index].tolist()
        area = (x2 - x1 + offset) * (y2 - y1 + offset)
        for other in kept:
            a1, b1, a2, b2 = boxes[other].tolist()
            width = max(0, min(x2, a2) - max(x1, a1) + offset)
            height = max(0, min(y2, b2) - max(y1, b1) + offset)
            union = area + (a2 - a1 + offset) * (b2 - b1 + offset) - width * height
            if width * height / union > threshold:
                break
        else:
            kept.append(index)
    return kept


@pytest.mark.parametrize("offset", [0, 1])
def test_nms_is_its_definition(ops, offset):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(60, 2, generator=generator) * 20
    boxes = torch.cat([corner, corner + torch.rand(60, 2, generator=generator) * 12], dim=1)
    scores = torch.rand(60, generator=generator)
    _, kept = ops.nms(boxes, scores, 0.3, offset)
    assert kept.tolist() == slow_nms(boxes, scores, 0.3, offset)


def test_roi_align_of_a_ramp_is_the_ramp_at_the_bin_centres(ops):
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    box = torch.tensor([[0, 2.0, 4.0, 10.0, 12.0]])
    pooled = ops.roi_align(ramp, box, (4, 4), 1.0, 2, "avg", True)
    assert torch.allclose(pooled[0, 0], torch.tensor([2.5, 4.5, 6.5, 8.5]).expand(4, 4))


def test_roi_align_has_its_gradient(ops):
    features = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    box = torch.tensor([[0, 0.7, 1.1, 4.9, 5.2]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: ops.roi_align(x, box, (2, 2), 1.0, 2, "avg", True), features)


def test_roi_align_of_bfloat16_is_computed_exactly(ops):
    features = torch.randn(1, 2, 6, 6).bfloat16().requires_grad_()
    box = torch.tensor([[0, 0.7, 1.1, 4.9, 5.2]])
    exact = features.detach().float().requires_grad_()
    pooled, expected = (ops.roi_align(x, box.to(x), (2, 2), 1.0, 2, "avg", True) for x in (features, exact))
    assert pooled.dtype == torch.bfloat16
    assert torch.allclose(pooled.float(), expected, atol=2e-2)
    pooled.sum().backward(), expected.sum().backward()
    assert torch.allclose(features.grad.float(), exact.grad, atol=2e-2)


def test_nms_of_several_classes_suppresses_within_each(ops):
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(40, 2, generator=generator) * 8
    boxes = torch.cat([corner, corner + 1 + torch.rand(40, 2, generator=generator) * 9], dim=1)
    scores = torch.rand(40, generator=generator)
    classes = torch.arange(40) % 3
    kept = ops.batched_nms(boxes, scores, classes, dict(type="nms", iou_threshold=0.4))[1]
    expected = []
    for one in range(3):
        members = (classes == one).nonzero().flatten()
        expected += members[slow_nms(boxes[members], scores[members], 0.4, 0)].tolist()
    assert kept.tolist() == sorted(expected, key=lambda index: -scores[index])


def test_points_are_read_between_pixels(ops):
    features = torch.arange(12.0).view(1, 1, 3, 4)
    points = torch.tensor([[[0.5 / 4, 0.5 / 3], [1.0 / 4, 0.5 / 3], [2.5 / 4, 2.0 / 3]]])
    assert torch.allclose(ops.point_sample(features, points), torch.tensor([[[0.0, 0.5, 8.0]]]), atol=1e-5)


def deformable_attention(value, shapes, locations, weights):
    """Deformable DETR, Eq. 3, one sampled point at a time."""
    batch, _, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    output = value.new_zeros(batch, queries, heads, channels)
    for b, q, h in itertools.product(range(batch), range(queries), range(heads)):
        start = 0
        for level, (height, width) in enumerate(shapes):
            pixels = value[b, start : start + height * width, h].view(height, width, channels)
            start += height * width
            for p in range(points):
                x, y = locations[b, q, h, level, p] * torch.tensor([width, height]) - 0.5
                for column, row in itertools.product(range(width), range(height)):
                    near = (1 - (x - column).abs()).clamp(min=0) * (1 - (y - row).abs()).clamp(min=0)
                    output[b, q, h] += weights[b, q, h, level, p] * near * pixels[row, column]
    return output.flatten(2)


def test_deformable_attention_is_its_equation_with_its_gradients(ops):
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    torch.manual_seed(0)
    shapes = torch.tensor([[3, 4], [2, 2]])
    value = torch.randn(2, 16, 2, 3, dtype=torch.float64, requires_grad=True)
    locations = (torch.rand(2, 3, 2, 2, 2, 2, dtype=torch.float64) * 1.4 - 0.2).requires_grad_()
    weights = torch.rand(2, 3, 2, 2, 2, dtype=torch.float64, requires_grad=True)

    def attend(*inputs):
        value, locations, weights = inputs
        return MultiScaleDeformableAttnFunction.apply(value, shapes, torch.tensor([0, 12]), locations, weights, 64)

    literal = deformable_attention(value.detach(), shapes.tolist(), locations.detach(), weights.detach())
    assert torch.allclose(attend(value, locations, weights), literal)
    assert torch.autograd.gradcheck(attend, (value, locations, weights))


def test_an_absent_operator_says_which_it_is_when_called(ops):
    layer = ops.DeformConv2d(3, 3, 3, padding=1)
    with pytest.raises(MissingMMCVOpError, match="'deform_conv_forward'"):
        layer(torch.zeros(1, 3, 8, 8), torch.zeros(1, 18, 8, 8))
    with pytest.raises(MissingMMCVOpError, match="average"):
        ops.roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), (2, 2), 1.0, 0, "max", True)


def test_compiler_information_is_reported_as_absent(ops):
    assert "without compiled" in ops.get_compiler_version()
    assert "without compiled" in ops.get_compiling_cuda_version()


def test_compiled_operators_are_left_alone(monkeypatch):
    compiled = ModuleType(EXTENSION)
    monkeypatch.setitem(sys.modules, EXTENSION, compiled)
    assert ensure_mmcv_ops() is False
    assert sys.modules[EXTENSION] is compiled


def test_modules_that_were_imported_before_get_the_operators(ops, monkeypatch):
    import mmseg.models

    before = ModuleType("mmseg.of_tests")
    before.point_sample = before._sigmoid_focal_loss = before.get_uncertain_point_coords_with_randomness = None
    before.gdal = None  # absent, and no operator
    monkeypatch.setitem(sys.modules, "mmseg.of_tests", before)
    monkeypatch.delitem(sys.modules, EXTENSION)
    assert ensure_mmcv_ops()
    assert before.point_sample is ops.point_sample and before._sigmoid_focal_loss is ops.sigmoid_focal_loss
    uncertain = mmseg.models.utils.point_sample.get_uncertain_point_coords_with_randomness
    assert before.get_uncertain_point_coords_with_randomness is uncertain and before.gdal is None


def test_segmentors_import():
    ensure_mmcv_ops()
    import mmseg.models

    assert mmseg.models.EncoderDecoder is not None


def test_detectors_import():
    pytest.importorskip("mmdet", reason="MMDetection is not installed")
    ensure_mmcv_ops()
    import mmdet.models
    import mmdet.registry

    assert mmdet.registry.MODELS.get("FasterRCNN") is mmdet.models.FasterRCNN


LORA = """
import hclip_mmseg
from mmengine.registry import init_default_scope
from mmengine.config import Config
from mmseg.registry import MODELS

init_default_scope("mmseg")
model = Config.fromfile(CONFIG).model
model.backbone.adapter = dict(type="LoRA", rank=2)
print(type(MODELS.build(model)).__name__)
import hclip_mmseg.apis.predict
import sys
print([name for name in ("mmdet.datasets", "mmdet.evaluation", "imgaug", "gradio", "pandas") if name in sys.modules])
"""


@pytest.mark.parametrize(
    "contents",
    [
        {"__init__.py": "raise ImportError('no httpx')"},
        # as transformers 5: names that mmpretrain takes are gone, which it answers with None and derives from
        {
            "__init__.py": "class PreTrainedModel: pass\nclass AutoConfig: pass",
            "modeling_utils.py": "class PreTrainedModel: pass\nclass GenerationConfig: pass",
            "pytorch_utils.py": "def apply_chunking_to_forward(): pass",
        },
    ],
    ids=["cannot be imported", "lacks names"],
)
def test_a_transformers_that_mmpretrain_cannot_use_disturbs_nothing(repository, tmp_path, contents):
    for name, text in contents.items():
        file = tmp_path / "transformers" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + "\n")
    metadata = tmp_path / "transformers-5.0.0.dist-info/METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 5.0.0\n")
    code = LORA.replace("CONFIG", repr(str(repository / "configs/hclip/hclip_tiny_scenes.py")))
    path = os.pathsep.join([str(tmp_path), str(repository)])
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "OpenVocabSegmentor\n[]\n", "a model for segmentation takes long enough to start"


def test_a_config_that_imports_mmdetection_is_read_without_its_notes(repository):
    read = "from hclip_mmseg.apis.launch import read_config; read_config('configs/detection/hclip_tiny_scenes.py')"
    ended = subprocess.run([sys.executable, "-c", read], cwd=repository, capture_output=True, text=True)
    assert ended.returncode == 0 and not ended.stdout, ended.stdout + ended.stderr
