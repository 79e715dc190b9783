"""Regions from a folder: read, voted in, and as CorrCLIP's scope."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from pycocotools import mask as coco_mask
from test_field import FEATURES, base, model_of, trunk
from tiny_training_free import evidence, textured_images

from hclip_mmseg.reference import middle_blocks
from hclip_mmseg.reference import training_free as literal
from hclip_mmseg.training_free import RegionFolder
from hclip_mmseg.training_free.dense import ImageContext
from hclip_mmseg.training_free.protocol import Settings
from hclip_mmseg.training_free.region_scope import merged_regions, nearest
from hclip_mmseg.training_free.windows import Windows


def numbers_of(height: int, width: int) -> np.ndarray:
    """Four regions, and a corner in none."""
    numbers = np.ones((height, width), np.uint8)
    numbers[: height // 2, width // 3 :] = 2
    numbers[height // 2 :, width // 3 :] = 7
    numbers[height // 2 :, -width // 4 :] = 0
    return numbers


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(numbers_of(40, 24)).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", numbers_of(40, 24).astype(np.int32))
    return tmp_path


def test_kinds_of_files(folder):
    regions = RegionFolder(str(folder))
    expected = torch.from_numpy(numbers_of(40, 24)).long()
    assert regions.read(dict(img_path="x/a.jpg")).equal(expected)
    assert regions.read(dict(img_path="x/b.jpg"), (40, 24)).equal(expected)
    masks = np.zeros((2, 6, 8), np.uint8)
    masks[0, :4], masks[1, 3:, :2] = 1, 1  # 32 and 6 pixels, two of them both's
    np.save(folder / "c.npy", masks)
    coded = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
    entries = [dict(segmentation=dict(size=mask["size"], counts=mask["counts"].decode())) for mask in coded]
    (folder / "d.json").write_text(json.dumps(entries))
    for name in ("c.jpg", "d.jpg"):
        for on_top, kept in (("smaller", masks[1]), ("larger", masks[0])):
            found = RegionFolder(str(folder), on_top).read(dict(img_path=name))
            assert found[torch.from_numpy(kept != 0)].unique().numel() == 1
            assert (found == 0).equal(torch.from_numpy(masks.sum(axis=0) == 0))
    with pytest.raises(ValueError, match="must be made for the same image"):
        regions.read(dict(img_path="a.jpg"), (41, 24))
    with pytest.raises(FileNotFoundError, match=r"no regions of e\.jpg"):
        regions.read(dict(img_path="e.jpg"))
    with pytest.raises(ValueError, match="on_top must be one of smaller, larger"):
        RegionFolder(str(folder), "best")
    (folder / "f.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"f\.npy holds no array of regions"):
        regions.read(dict(img_path="f.jpg"))


@pytest.mark.parametrize("size", [(61, 37), (17, 24), (80, 9)])
def test_the_models_image_has_the_region_at_the_first_pixel_of_each_of_its_pixels(folder, size):
    """CorrCLIP's code brings numbers of the file's size to the model's by torch's 'nearest'."""
    found, numbers = RegionFolder(str(folder)).at(size, dict(img_path="a.jpg")), numbers_of(40, 24)
    expected = [[numbers[i * 40 // size[0], j * 24 // size[1]] for j in range(size[1])] for i in range(size[0])]
    assert found.tolist() == expected


def test_votes_are_one_region_at_a_time(folder):
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 5, (40, 24)))
    found = RegionFolder(str(folder))(labels, evidence(dict(img_path="a.jpg"), 5))
    numbers, expected = torch.from_numpy(numbers_of(40, 24)), labels.clone()
    for number in (1, 2, 7):
        expected[numbers == number] = labels[numbers == number].bincount().argmax()
    assert found.equal(expected)
    assert found[numbers == 0].equal(labels[numbers == 0])


@pytest.mark.parametrize("reach", [0.0, 0.3, 3.0])
def test_alike_regions_become_one(reach):
    generator = torch.Generator().manual_seed(4)
    features = torch.nn.functional.normalize(torch.randn(30, 5, generator=generator) + 0.7, dim=-1)
    regions = torch.arange(30) // 4
    found, expected = (
        merged_regions(features, regions, reach).tolist(),
        middle_blocks.merged_regions(features, regions.tolist(), reach),
    )
    assert [number == 0 for number in found] == [number == 0 for number in expected]
    assert len(set(zip(found, expected, strict=True))) == len(set(found)) == len(set(expected))


@pytest.mark.parametrize("settings", [dict(), dict(semantic=0.0), dict(spatial=0.0)])
@torch.no_grad()
def test_scope_of_regions(folder, settings):
    pixels, tower = textured_images(1, 40, 24), base().backbone.image_tower
    config = dict(type="RegionScope", features=FEATURES, regions=dict(type="RegionFolder", folder=str(folder)))
    method = MODELS.build(dict(config, merge=0.05, layers=(0, 1), **settings))
    windows = Windows.of((40, 24), Settings(window=0))
    found = method(trunk(), pixels, ImageContext(pixels[0], windows, lambda dense: dense, dict(img_path="a.jpg")))
    grid = (10, 6)
    q, k, _ = method.features.last_qkv(pixels, grid)
    unit = torch.nn.functional.normalize((q + k)[0], dim=-1)
    numbers = torch.from_numpy(numbers_of(40, 24)).long()
    fine = nearest(numbers, grid).tolist()
    merged = middle_blocks.merged_regions(unit, fine, 0.05)
    spatial, semantic = settings.get("spatial", 1.0), settings.get("semantic", 0.5)
    expected = middle_blocks.region_scope(tower, pixels[0], unit, merged, grid, (0, 1), 4.0, spatial, semantic)
    assert found.normed and found.grid == grid
    torch.testing.assert_close(found.tokens[0], expected, atol=2e-4, rtol=2e-3)
    weights = method.weights(unit, torch.tensor(merged))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(60))


@pytest.mark.parametrize(("semantic", "normed"), [(0.0, False), (0.7, True)])
@pytest.mark.parametrize("settings", [dict(window=24, stride=8), dict(window=24, stride=16, pad=32), dict(window=0)])
@torch.no_grad()
def test_stitched_scope(folder, settings, semantic, normed):
    pixels, tower = textured_images(1, 40, 24), base().backbone.image_tower
    config = dict(type="StitchedScope", features=FEATURES, regions=dict(type="RegionFolder", folder=str(folder)))
    config = dict(config, merge=0.05, layers=(1, 2), semantic=semantic, windows_at_once=2, normed_skip=normed)
    method = MODELS.build(config)
    windows = Windows.of((40, 24), Settings(**settings))
    cut = windows.cut(pixels[0])
    found = method(trunk(), cut, ImageContext(pixels[0], windows, lambda dense: dense, dict(img_path="a.jpg")))
    own, fine, image, of_clip = (
        (side // 8 for side in windows.padded),
        (side // 4 for side in windows.padded),
        (10, 6),
        (5, 3),
    )
    own, fine = tuple(own), tuple(fine)

    def of_pixels(regions):
        return regions.repeat_interleave(4, dim=0).repeat_interleave(4, dim=1)

    def stitch(tokens, grid):
        return windows.stitched(torch.stack(tokens).transpose(1, 2).unflatten(2, grid)).flatten(1).T

    parts = [method.features.last_block(window[None], fine) for window in cut]
    if normed:
        norm = torch.nn.LayerNorm(12, elementwise_affine=False)
        parts = [(norm(x), *qkv) for x, *qkv in parts]
    x, q, k, v = (stitch([part[n][0] for part in parts], fine) for n in range(4))
    f = method.features.finish_last_block(x, q, k, v)
    f = torch.stack([row / row.norm() for row in f])
    numbers = nearest(torch.from_numpy(numbers_of(40, 24)).long(), image)
    merged = torch.tensor(middle_blocks.merged_regions(f, numbers.tolist(), 0.05))
    weights = method.weights(f, merged)
    states, blocks = [middle_blocks.states(tower, window) for window in cut], list(tower.blocks)

    def branch(values):
        maps = literal.resize(values.T.unflatten(1, of_clip), image)
        return tower.ln_post(literal.out(blocks[-1], [weights @ maps.flatten(1).T]))

    def heads(block, tokens):
        return [torch.cat(part, dim=-1) for part in zip(*literal.heads_of(block, tokens), strict=True)]

    main = branch(stitch([heads(blocks[-1], own_states[-1])[2][1:] for own_states in states], own))
    spatial = []
    for layer in (1, 2):
        block = blocks[layer]
        inputs = stitch([own_states[layer][1:] for own_states in states], own)
        of_windows = [heads(block, own_states[layer]) for own_states in states]
        q, k, v = (stitch([part[n][1:] for part in of_windows], own) for n in range(3))
        size = block.attn.head_dim
        split = [
            (a[:, i : i + size], b[:, i : i + size], c[:, i : i + size])
            for a, b, c in [(q, k, v)]
            for i in range(0, 48, size)
        ]
        y = inputs + literal.out(block, [(a @ b.T * size**-0.5).softmax(dim=-1) @ c for a, b, c in split])
        spatial.append(y + block.mlp(block.ln_2(y)))
    expected = main + branch(heads(blocks[-1], torch.stack(spatial).mean(dim=0))[2])
    copies = []
    for window, regions in zip(cut, windows.cut(of_pixels(merged.unflatten(0, image))[None])[:, 0], strict=True):
        of_patches = regions[::4, ::4].flatten().tolist()
        copies.append(torch.stack(middle_blocks.copies_of_cls(tower, window, of_patches, fine)))
    expected = expected + semantic * tower.ln_post(stitch(copies, fine))
    assert found.normed and found.grid == image
    torch.testing.assert_close(found.tokens[0], expected, atol=2e-4, rtol=2e-3)


@torch.no_grad()
def test_stitched_scope_segments_with_its_semantic_branch(folder):
    regions = dict(type="RegionFolder", folder=str(folder))
    config = dict(type="StitchedScope", features=FEATURES, regions=regions, layers=(1,))
    image, meta = textured_images(1, 40, 24), dict(ori_shape=(40, 24), img_path="a.jpg")
    scores = []
    for semantic in (0.0, 0.5):
        model = model_of(dict(config, semantic=semantic))
        scores.append(model.predict(image, [SegDataSample(metainfo=meta)])[0].seg_logits.data)
    assert scores[1].isfinite().all() and not torch.allclose(*scores)
    with pytest.raises(ValueError, match="takes blocks from the second on"):
        model_of(dict(config, layers=(0,)))


@torch.no_grad()
def test_scope_in_windows_with_votes(folder):
    config = dict(
        type="RegionScope", features=FEATURES, regions=dict(type="RegionFolder", folder=str(folder)), layers=(0,)
    )
    model = model_of(config, windows_at_once=2)
    model.refinement = RegionFolder(str(folder))
    image = textured_images(1, 40, 24)
    meta = dict(ori_shape=(40, 24), img_path="a.jpg")
    labels = model.predict(image, [SegDataSample(metainfo=meta)])[0].pred_sem_seg.data[0]
    numbers = torch.from_numpy(numbers_of(40, 24))
    assert all(labels[numbers == number].unique().numel() == 1 for number in (1, 2, 7))
    model.windowed.windows_at_once = 50
    assert model.predict(image, [SegDataSample(metainfo=meta)])[0].pred_sem_seg.data[0].equal(labels)
    flipped = dict(meta, flip=True, flip_direction="horizontal")
    again = model.predict(image.flip(-1), [SegDataSample(metainfo=flipped)])[0].pred_sem_seg.data[0]
    assert again.shape == labels.shape
    without = model_of(dict(type="RegionScope", features=FEATURES, layers=(0,)), stitch=True)
    assert without.predict(image)[0].seg_logits.data.isfinite().all()
