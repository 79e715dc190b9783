"""Other features, SAM's masks, regions as queries, segmentation without names."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from pycocotools import mask as coco_mask
from timm.models import register_model
from timm.models.eva import Eva
from tiny_models import randomise
from tiny_training_free import (
    NAMES,
    PIXELS,
    REGIONS,
    evidence,
    textured_images,
    tiny_backbone_config,
    tiny_training_free,
)

from hclip_mmseg.benchmarks.command import check_takes_names
from hclip_mmseg.training_free import (
    HungarianIoUMetric,
    RegionKMeansHook,
    RegionQueryGenerator,
    SAMMaskFolder,
    TimmPatchFeatures,
    UnsupervisedSegmentor,
    pooled_regions,
)
from hclip_mmseg.training_free.pooled_regions import pool
from hclip_mmseg.training_free.sam_masks import relabel
from hclip_mmseg.training_free.timm_features import CLIP_MEAN, CLIP_STD

DINO = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "vit.pth"
    torch.save(timm.create_model(DINO, num_classes=0).state_dict(), path)
    return path


@torch.no_grad()
def test_features_are_the_other_models(weights):
    features = TimmPatchFeatures(DINO, str(weights))
    vit = timm.create_model(DINO, num_classes=0).eval()
    vit.load_state_dict(torch.load(weights))
    pixels = torch.randint(0, 256, (1, 3, 224, 224)).float()
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (CLIP_MEAN, CLIP_STD))
    found = features((pixels - mean) / std, (14, 14))
    expected = F.normalize(vit.forward_features((pixels / 255 - 0.5) / 0.5), dim=-1)  # this model's own mean and std
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert features((pixels - mean) / std, (6, 8)).shape == (1, 49, 192)


@register_model
def dinov3_of_tests(pretrained: bool = False, pretrained_cfg_overlay=None, **kwargs) -> Eva:
    """As timm's vit_small_patch16_dinov3: rotary positions alone, four registers, layer scale, no bias of q, k, v."""
    vit = Eva(
        img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=4, qkv_bias=False, init_values=0.5,
        rope_type="dinov3", use_rot_pos_emb=True, use_abs_pos_emb=False, rope_rotate_half=True, num_reg_tokens=4,
        **{name: value for name, value in kwargs.items() if name in ("num_classes", "dynamic_img_size")},
    )  # fmt: skip
    vit.load_state_dict(pretrained_cfg_overlay["state_dict"]) if pretrained else None
    vit.pretrained_cfg = dict(mean=(0.5,) * 3, std=(0.5,) * 3)
    return vit


@torch.no_grad()
def test_dinov3_gives_the_attention_that_timm_computes(tmp_path, monkeypatch):
    torch.manual_seed(1)
    vit = dinov3_of_tests(dynamic_img_size=True, num_classes=0).eval()
    torch.save(vit.state_dict(), tmp_path / "dino.pth")
    features = TimmPatchFeatures("dinov3_of_tests", str(tmp_path / "dino.pth"), mean=[127.5] * 3, std=[127.5] * 3)
    attend, seen = F.scaled_dot_product_attention, []
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *qkv, **k: seen.append(qkv) or attend(*qkv, **k))
    images, block = torch.randn(2, 3, 24, 40), []
    vit.blocks[-1].register_forward_hook(lambda module, arguments, output: block.extend([arguments[0], output]))
    tokens = F.normalize(vit.forward_features(images), dim=-1)
    expected = [part.transpose(1, 2).flatten(2)[:, 5:] for part in seen[-1]]
    x, q, k, v = features.last_block(images, (3, 5))
    for found, theirs in zip((x, q, k, v), (block[0][:, 5:], *expected), strict=True):
        torch.testing.assert_close(found, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features(images, (3, 5))[:, 1:], tokens[:, 5:], rtol=1e-4, atol=1e-5)
    attention = vit.blocks[-1].attn
    by_head = (part.unflatten(-1, (4, -1)).transpose(1, 2) for part in (q, k, v))
    mixed = attention.proj(attend(*by_head).transpose(1, 2).flatten(2))
    y = x + vit.blocks[-1].gamma_1 * mixed
    y = y + vit.blocks[-1].gamma_2 * vit.blocks[-1].mlp(vit.blocks[-1].norm2(y))
    torch.testing.assert_close(features.finish_last_block(x, q, k, v), y, rtol=1e-4, atol=1e-5)
    way = dict(norm=True, output_fmt="NLC", intermediates_only=True)
    (normed,) = vit.forward_intermediates(images, indices=[len(vit.blocks) - 2], **way)
    torch.testing.assert_close(features.final_norm(x), normed, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_segmentor_with_other_features(weights):
    features = dict(type="TimmPatchFeatures", model=DINO, weights=str(weights))
    model = tiny_training_free(regions={**REGIONS, "features": features})
    images = textured_images(1)
    view = model.backbone.look(images)
    chosen = model.region_finder.features_of(images, view)
    torch.testing.assert_close(chosen, model.region_finder.features(images, (8, 8)))
    result = model.predict(images)[0].pred_sem_seg.data
    regions = model.region_finder.find(chosen, [(64, 64)], (8, 8))[0].numbers
    for region in regions.unique():
        assert len(result[0][regions == region].unique()) == 1


def test_features_that_are_not_there(tmp_path, weights):
    with pytest.raises(FileNotFoundError, match="no weights of vit_tiny"):
        TimmPatchFeatures(DINO, str(tmp_path / "none.pth"))
    averaged = "vit_medium_patch16_gap_240"
    torch.save(timm.create_model(averaged, num_classes=0).state_dict(), tmp_path / "averaged.pth")
    with pytest.raises(ValueError, match=f"timm's {averaged} has no CLS token"):
        TimmPatchFeatures(averaged, str(tmp_path / "averaged.pth"))
    with pytest.raises(ValueError, match="timm knows no model"):
        TimmPatchFeatures("dinov9", str(weights))
    with pytest.raises(ValueError, match="does not hold the weights"):
        TimmPatchFeatures("vit_small_patch16_224", str(weights))


def test_relabel_by_hand():
    labels = torch.tensor([[0, 0, 1], [2, 2, 1], [2, 1, 1]])
    large = torch.tensor([[1, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
    small = torch.tensor([[0, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    # the large one holds 2 x 0, 2 x 1, 2 x 2: the lowest; the small one, of 1 alone, stands before it
    expected = [[0, 0, 1], [0, 0, 1], [2, 1, 1]]
    assert relabel(labels, torch.stack([small, large]), 3).tolist() == expected
    assert relabel(labels, torch.stack([large, small]), 3).tolist() == expected
    assert relabel(labels, torch.zeros(1, 3, 3, dtype=torch.bool), 3).equal(labels)


def test_masks_from_files(tmp_path):
    masks = np.zeros((2, 20, 30), np.uint8)
    masks[0, :10], masks[1, 5:, 10:20] = 1, 1
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (20, 30)))
    expected = relabel(labels, torch.from_numpy(masks != 0), 3)
    entries = []
    for mask in masks:
        coded = coco_mask.encode(np.asfortranarray(mask))
        entries.append(dict(segmentation=dict(size=coded["size"], counts=coded["counts"].decode())))
    (tmp_path / "a.json").write_text(json.dumps(entries))
    np.save(tmp_path / "b.npy", masks)
    folder = SAMMaskFolder(str(tmp_path))
    for name in "ab":
        torch.testing.assert_close(folder(labels, evidence(dict(img_path=f"images/{name}.jpg"), 3)), expected)
    with pytest.raises(FileNotFoundError, match=r"no masks of c\.jpg"):
        folder(labels, evidence(dict(img_path="c.jpg"), 3))
    with pytest.raises(ValueError, match="must be made for the same image"):
        folder(labels[:5], evidence(dict(img_path="a.jpg"), 3))
    (tmp_path / "even.json").write_text("[]")
    np.save(tmp_path / "sky.npy", masks[:0])
    for name in ("even", "sky"):  # SAM found nothing in it
        for crop in ({}, dict(clip_crop=(20, 30, 0, 0))):
            assert folder(labels, evidence(dict(img_path=f"{name}.jpg", **crop), 3)) is labels
    (tmp_path / "d.json").write_text("[{}]")
    with pytest.raises(ValueError, match=r"d\.json holds no masks"):
        folder(labels, evidence(dict(img_path="d.jpg"), 3))
    with pytest.raises(FileNotFoundError, match="no folder of SAM's masks"):
        SAMMaskFolder(str(tmp_path / "none"))


@torch.no_grad()
def test_masks_are_cut_as_their_image_was(tmp_path):
    masks = np.zeros((1, 40, 60), bool)
    masks[0, :, 20:40] = True  # of the middle 20 x 20 at half the size: columns 5 to 14
    np.save(tmp_path / "a.npy", masks)
    model = tiny_training_free(refinement=dict(type="SAMMaskFolder", folder=str(tmp_path)), attention="value")
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (20, 20)))
    inside = torch.zeros(20, 20, dtype=torch.bool)
    inside[:, 5:15] = True
    found = model.refinement(labels, evidence(dict(img_path="a.jpg", clip_crop=(20, 30, 0, 5)), 5))
    torch.testing.assert_close(found, relabel(labels, inside[None], 5))
    sample = SegDataSample(metainfo=dict(img_path="a.jpg", ori_shape=(40, 60)))
    whole = model.predict(textured_images(1), [sample])[0].pred_sem_seg.data[0]
    assert len(whole[:, 20:40].unique()) == 1


def test_pooling_counts_pixels():
    tokens = torch.tensor([[1.0, 0], [3, 0], [0, 2], [0, 4]])
    regions = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    # 2 x 2 patches of 2 x 2 pixels: region 0 has 4 pixels of the first, 2 of the third and 2 of the fourth
    torch.testing.assert_close(pool(tokens, regions, (2, 2)), torch.tensor([[0.5, 1.5], [1.5, 1.5]]))


def test_regions_as_queries():
    generator = RegionQueryGenerator(tiny_backbone_config(), REGIONS, queries=6)
    randomise(generator.backbone.image_tower.transformer)
    images = textured_images(2)
    masks, features, present = generator(images)
    assert masks.shape == (2, 6, 8, 8) and features.shape == (2, 6, 32) and present.shape == (2, 6)
    tokens = F.normalize(generator.backbone.look(images).tokens[:, 1:], dim=-1)
    for index, found in enumerate(pooled_regions(generator.backbone, generator.region_finder, images)):
        count = len(found.features)
        assert count > 1
        assert present[index].sum() == min(count, 6)
        sizes = masks[index].sum(dim=(1, 2))
        assert (sizes.diff() <= 0).all()
        for query in range(min(count, 6)):
            inside = masks[index, query].flatten() > 0
            expected = F.normalize(tokens[index][inside].mean(dim=0), dim=0)
            torch.testing.assert_close(features[index, query], expected)
        assert not masks[index, count:].any() and not features[index, count:].any()


class FakeRunner:
    """What the hook reads of a runner."""

    def __init__(self, model, batches) -> None:
        import logging

        self.model, self.test_dataloader, self.logger = model, batches, logging.getLogger("test")


def unsupervised(clusters: int) -> UnsupervisedSegmentor:
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = UnsupervisedSegmentor(tiny_backbone_config(), REGIONS, clusters, resolution=64, data_preprocessor=PIXELS)
    randomise(model.backbone.image_tower.transformer)
    return model.eval()


def test_clusters_are_not_asked_for_the_names_of_benchmarks():
    with pytest.raises(ValueError, match="UnsupervisedSegmentor finds clusters without names"):
        check_takes_names(unsupervised(3))


def test_clusters_of_a_data_set():
    model = unsupervised(3)
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    batch = dict(inputs=images, data_samples=[SegDataSample(metainfo=dict(ori_shape=(50, 50))) for _ in images])
    with pytest.raises(ValueError, match="no clusters yet"):
        model.predict(torch.zeros(1, 3, 64, 64))
    RegionKMeansHook().before_test_epoch(FakeRunner(model, [batch]))
    inputs = model.data_preprocessor(batch, False)["inputs"]
    features = torch.cat([found.features for found in model.extract_feat(inputs)])
    # every centre is the mean of the features nearest to it
    nearest = torch.cdist(features, model.centres).argmin(dim=1)
    for cluster in range(3):
        torch.testing.assert_close(model.centres[cluster], features[nearest == cluster].mean(dim=0), atol=1e-4, rtol=0)
    results = model.test_step(batch)
    assert results[0].pred_sem_seg.data.shape == (1, 50, 50)
    assert results[0].metainfo["vocabulary"] == ("cluster 0", "cluster 1", "cluster 2")
    with pytest.raises(ValueError, match="cannot make 500 clusters"):
        RegionKMeansHook().before_test_epoch(FakeRunner(unsupervised(500), [batch]))


@pytest.mark.parametrize("clusters", [3, 4])
def test_matching_is_the_best_of_all(clusters):
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(0, 3, (2, 1, 12, 12), generator=generator)
    predicted = (labels * 2 + torch.randint(0, 2, labels.shape, generator=generator)) % clusters
    labels[:, :, 0] = 255
    metric = HungarianIoUMetric(clusters, iou_metrics=["mIoU"])
    metric.dataset_meta = dict(classes=NAMES[:3])
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=label), pred_sem_seg=PixelData(data=cluster)).to_dict()
        for label, cluster in zip(labels, predicted, strict=True)
    ]
    metric.process({}, samples)
    metrics = metric.compute_metrics(metric.results)
    valid, best = labels != 255, None
    for meaning in itertools.permutations([0, 1, 2, 3][:clusters], clusters):  # class 3: none
        named = torch.tensor(meaning)[predicted]
        right = int(((named == labels) & valid).sum())
        iou = [
            ((named == c) & (labels == c) & valid).sum() / (((named == c) | (labels == c)) & valid).sum()
            for c in range(3)
        ]
        if best is None or right > best[0]:
            best = right, float(100 * sum(iou) / 3)
    assert metrics["aAcc"] == pytest.approx(100 * best[0] / int(valid.sum()), abs=0.01)
    assert metrics["mIoU"] == pytest.approx(best[1], abs=0.01)
    with pytest.raises(ValueError, match="expected are 3 classes"):
        HungarianIoUMetric.process(metric, {}, [
            SegDataSample(
                gt_sem_seg=PixelData(data=labels[0] * 0 + 7), pred_sem_seg=PixelData(data=predicted[0])
            ).to_dict()
        ])  # fmt: skip
