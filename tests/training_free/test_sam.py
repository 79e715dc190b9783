"""Trident's parts on a miniature SAM, against loops over patches, regions and pixels."""

from __future__ import annotations

import sys

import pytest
import tiny_features  # noqa: F401 (registers)
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from tiny_sam import HEADS, PATCH, SIDE, write_tiny_sam
from tiny_training_free import textured_images, tiny_training_free

from hclip_mmseg.reference import trident as literal
from hclip_mmseg.training_free import ProxyAttention, SAMAggregation, SAMPrompts
from hclip_mmseg.training_free.dense import ImageContext
from hclip_mmseg.training_free.per_benchmark import PerBenchmark
from hclip_mmseg.training_free.protocol import Settings
from hclip_mmseg.training_free.refinement import Evidence
from hclip_mmseg.training_free.sam_prompts import prompts_of
from hclip_mmseg.training_free.segment_anything import read_sam
from hclip_mmseg.training_free.windows import Windows

PIXELS = SIDE * PATCH


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return str(write_tiny_sam(tmp_path_factory.mktemp("sam") / "sam_tiny.pth"))


def context_of(image, **settings):
    windows = Windows.of(tuple(image.shape[-2:]), Settings(window=0))
    return ImageContext(image, windows, lambda dense: dense.maps(), {}, **settings)


def attention_of(sam, view):
    """Attention and values of SAM's last block by its own code, of all patches: [heads, N, N], [heads, N, C]."""
    from segment_anything.modeling.image_encoder import add_decomposed_rel_pos

    own = sam.sam.image_encoder.blocks[-1].attn
    q, k, v = own.qkv(view.tokens).reshape(SIDE * SIDE, 3, HEADS, -1).permute(1, 2, 0, 3).unbind(0)
    scores = add_decomposed_rel_pos((q * own.scale) @ k.mT, q, own.rel_pos_h, own.rel_pos_w, (SIDE,) * 2, (SIDE,) * 2)
    return scores.softmax(dim=-1), v


@pytest.mark.parametrize("shape", [(48, 48), (30, 61), (90, 20)])
@pytest.mark.parametrize(("factor", "negative"), [(1.2, None), (0.0, None), (3.0, 0.6), (-1.0, 0.6), (-1.0, None)])
@torch.no_grad()
def test_aggregation_is_the_loop(weights, shape, factor, negative):
    image = textured_images(1, *shape)[0]
    part = SAMAggregation(weights, factor=factor, negative=negative)
    view = part.sam.look(image)
    rows, columns = view.grid
    assert max(rows, columns) == SIDE and view.pixels == (rows * PATCH, columns * PATCH)
    attention, values = attention_of(part.sam, view)
    inside = [row * SIDE + column for row in range(rows) for column in range(columns)]
    expected = literal.aggregation(attention[:, inside][:, :, inside], values[:, inside], factor, negative)
    found = part.weights(view)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(inside)))
    maps = torch.randn(1, 5, 4, 7)
    on_grid = F.interpolate(maps, size=view.grid, mode="bilinear").flatten(2)[0]
    mixed = part(maps, context_of(image))
    torch.testing.assert_close(mixed[0].flatten(1), on_grid @ expected.T, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_strips_attend_within_themselves(weights):
    image = textured_images(1, 48, 96)[0]
    part = SAMAggregation(weights, strips={"default": 1, "Cityscapes": 2})
    maps = torch.randn(1, 5, 6, 12)
    whole = part(maps, context_of(image, benchmark="cityscapes_19"))
    assert whole.shape == (1, 5, 6, 12) and part(maps, context_of(image)).shape == (1, 5, 3, 6)
    for half in (slice(0, 6), slice(6, 12)):
        own = part(maps[..., half], context_of(image[..., 8 * half.start : 8 * half.stop]))
        torch.testing.assert_close(own, whole[..., half])


@torch.no_grad()
def test_sam_sees_the_image_as_its_own_preprocessing_has_it(weights):
    sam = read_sam(weights)
    rgb = (255 * torch.rand(3, PIXELS, PIXELS)).round()
    clip = torch.tensor([122.7709383, 116.7460125, 104.09373615]), torch.tensor([68.5005327, 66.6321579, 70.32316305])
    view = sam.look((rgb - clip[0].view(3, 1, 1)) / clip[1].view(3, 1, 1))
    expected = sam.sam.image_encoder(sam.sam.preprocess(rgb)[None])
    torch.testing.assert_close(view.features, expected, atol=1e-4, rtol=1e-4)


def evidence_of(probabilities, image, benchmark=""):
    return Evidence({}, len(probabilities), lambda: probabilities, lambda: image, benchmark)


@pytest.mark.parametrize("failed", ["surer", "published"])
@pytest.mark.parametrize("seed", [0, 1])
@torch.no_grad()
def test_prompts_are_the_loop(weights, failed, seed):
    torch.manual_seed(seed)
    image = textured_images(1, 40, 56)[0]
    coarse = F.interpolate(4 * torch.randn(1, 4, 4, 5), size=(40, 56), mode="bilinear")[0]
    probabilities = coarse.softmax(dim=0)
    labels = probabilities.argmax(dim=0)
    part = SAMPrompts(weights, threshold=0.5, least_area=6, mask_scale=2.0, failed=failed, prompts_at_once=2)
    sam, ious, masks = part.sam.sam, [], []
    view = part.sam.look(image)
    scale = view.pixels[1] / 28, view.pixels[0] / 20

    def ask(probability, box, point):
        side = sam.prompt_encoder.mask_input_size[0]
        own = side * view.pixels[0] // PIXELS, side * view.pixels[1] // PIXELS
        given = F.interpolate(probability[None, None], size=own, mode="bilinear")
        given = F.pad(torch.where(given > 0.5, 2.0 * given, 0.0), (0, side - own[1], 0, side - own[0]))
        at = torch.tensor([[[point[0] * scale[0], point[1] * scale[1]]]])
        corners = torch.tensor([[box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1]]])
        sparse, dense = sam.prompt_encoder(points=(at, torch.ones(1, 1)), boxes=corners, masks=given)
        low, iou = sam.mask_decoder(view.features, sam.prompt_encoder.get_dense_pe(), sparse, dense, False)
        ious.append(float(iou))
        masks.append(sam.postprocess_masks(low, view.pixels, (40, 56))[0, 0])
        return masks[-1], ious[-1]

    arguments = (labels, probabilities, ask, 0.5, 6)
    literal.refine(*arguments, least_iou=-99.0, surer=True)
    ordered, half = sorted(ious), len(ious) // 2
    part.least_iou = (ordered[half - 1] + ordered[half]) / 2  # half of the masks are kept, whatever rounds
    expected = literal.refine(*arguments, least_iou=part.least_iou, surer=failed == "surer")
    found = part(labels, evidence_of(probabilities, image))
    assert len(ious) > 4 and not expected.equal(labels)
    assert found.equal(expected)


@torch.no_grad()
def test_without_a_sure_mask_labels_stay(weights):
    image = textured_images(1, 40, 56)[0]
    probabilities = torch.randn(3, 41, 57).softmax(dim=0)
    labels = probabilities.argmax(dim=0)
    evidence = evidence_of(probabilities, image)
    assert SAMPrompts(weights, least_iou=1e9, least_area=1)(labels, evidence).equal(labels)
    assert SAMPrompts(weights, threshold=1.0)(labels, evidence).equal(labels)
    assert SAMPrompts(weights, least_area=10**6)(labels, evidence).equal(labels)
    off = labels.masked_fill(labels == 1, 255)  # of no class
    assert SAMPrompts(weights, least_iou=1e9, least_area=1)(off, evidence).equal(off)


def test_prompts_of_a_region():
    region = torch.zeros(6, 8, dtype=torch.bool)
    region[1:3, 1:3] = region[3, 3] = region[0, 7] = True  # joined over a corner; one pixel apart
    probability = torch.zeros(6, 8)
    probability[2, 1], probability[5, 5] = 0.5, 0.9
    found = prompts_of(region, probability, 2)
    assert found.boxes.tolist() == [[1, 1, 3, 3]] and found.points.tolist() == [[1, 2]]
    assert found.regions[0].sum() == 5
    assert prompts_of(region, probability, 6) is None


def trident(weights, **changes):
    config = dict(
        attention=dict(type="ProxyAttention", features=dict(type="TinyPatchFeatures")),
        protocol=dict(type="trident", short_side=48, window=32, stride=16, pad=8),
        windowed=dict(stitch=True, aggregation=dict(type="SAMAggregation", weights=weights)),
        refinement=dict(type="SAMPrompts", weights=weights, threshold=0.0, least_area=4, least_iou=-99.0),
        regions=None,
    )
    return tiny_training_free(**{**config, **changes})


@torch.no_grad()
def test_trident_is_its_parts(weights):
    sam = read_sam(weights)  # before, as reading it draws random numbers
    model = trident(weights)
    assert isinstance(model.backbone.method, ProxyAttention)
    assert model.refinement.sam is model.windowed.aggregation.sam is sam, "one SAM looks once"
    image = textured_images(1, 50, 70)
    seen = []
    sam.sam.image_encoder.register_forward_hook(lambda *_: seen.append(1))
    sample = SegDataSample(metainfo=dict(ori_shape=(50, 70)))
    labels = model.predict(image, [sample])[0].pred_sem_seg.data[0]
    assert len(seen) == 1 and labels.shape == (50, 70)
    coarse = trident(weights, refinement=None)
    before = coarse.predict(image, [SegDataSample(metainfo=dict(ori_shape=(50, 70)))])[0]
    scores = before.seg_logits.data
    expected = model.refinement(before.pred_sem_seg.data[0], evidence_of(scores, image[0]))
    assert labels.equal(expected) and not labels.equal(before.pred_sem_seg.data[0])
    flipped = SegDataSample(metainfo=dict(ori_shape=(50, 70), flip=True, flip_direction="horizontal"))
    assert model.predict(image.flip(-1), [flipped])[0].pred_sem_seg.data[0].shape == (50, 70)


def test_wrong_files_and_settings_are_named(weights, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no weights of SAM"):
        SAMPrompts(str(tmp_path / "missing.pth"))
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not hold a SAM's weights"):
        SAMPrompts(str(tmp_path / "other.pth"))
    with pytest.raises(ValueError, match="does not hold a SAM's weights"):
        read_sam(str(write_tiny_sam(tmp_path / "windows.pth", last_is_whole=False)))
    state = torch.load(weights)
    del state["mask_decoder.iou_token.weight"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(ValueError, match="lacks 1 tensors .mask_decoder.iou_token.weight"):
        read_sam(str(tmp_path / "short.pth"))
    with pytest.raises(ValueError, match="'surer' or 'published'"):
        SAMPrompts(weights, failed="never")
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(ValueError, match=r"pip install 'hclip-mmseg\[sam\]'"):
        read_sam(str(tmp_path / "other.pth"))


def test_numbers_for_benchmarks():
    number = PerBenchmark({"default": 1.2, "PAS-20": 0.0, "Cityscapes": 3}, "factor")
    assert [number.at(name) for name in ("", "pascal_voc_20", "cityscapes_19", "ade20k_150")] == [1.2, 0.0, 3.0, 1.2]
    with pytest.raises(ValueError, match="factor: no benchmark 'COCO2'"):
        PerBenchmark({"default": 1, "COCO2": 2}, "factor")
    with pytest.raises(ValueError, match="default=..."):
        PerBenchmark({"VOC21": 2}, "factor")
