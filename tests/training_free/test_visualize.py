"""What tools/visualize.py shows, and the tool itself."""

from __future__ import annotations

import runpy
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from miniature import REPOSITORY
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from tiny_models import tiny_segmentor
from tiny_training_free import NAMES, textured_images, tiny_training_free

from hclip_mmseg.datasets.scenes import SceneDataset
from hclip_mmseg.demo_assets.scenes import SCENE_CLASSES, render_scene
from hclip_mmseg.reference import cliptrase as literal
from hclip_mmseg.training_free.class_similarity import class_embeddings
from hclip_mmseg.training_free.depth import attention_by_depth, received_attention
from hclip_mmseg.training_free.explanation import explain, middles
from hclip_mmseg.visualization.correlation_figures import contrast, depth_figure, matrix_figure, point_figure
from hclip_mmseg.visualization.gallery import Section, write_gallery


@torch.no_grad()
def test_attention_by_depth_is_clips_own():
    backbone = tiny_training_free(attention="value").backbone
    image = textured_images(1, 32, 40)[0]
    received, attention = attention_by_depth(backbone, image)
    assert received.shape == (4, 20)
    x = backbone.image_tower.embed(image[None])[0]
    for index, block in enumerate(backbone.image_tower.blocks):
        maps = [(q @ k.T * q.shape[-1] ** -0.5).softmax(dim=-1) for q, k, _ in literal.heads_of(block, x)]
        mean = torch.stack(maps).mean(dim=0)
        if index == 2:
            torch.testing.assert_close(attention, mean, atol=1e-5, rtol=1e-4)
        for patch in range(20):
            others = [float(mean[1 + i, 1 + patch]) for i in range(20) if i != patch]
            assert float(received[index, patch]) == pytest.approx(21 * sum(others) / 19, rel=1e-3)
        x = literal.block_of_clip(block, x)


def test_even_attention_gets_everyone_one():
    torch.testing.assert_close(received_attention(torch.full((5, 5), 0.2)), torch.ones(4))


@torch.no_grad()
def test_explanation_is_what_the_model_does():
    model = tiny_training_free()
    pixels = np.random.default_rng(3).integers(0, 256, (4, 6, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    points = [(0, 0), (95, 63), (50, 20)]
    shown = explain(model, pixels, points)
    bgr = torch.from_numpy(pixels[..., ::-1].transpose(2, 0, 1).copy())
    batch = dict(inputs=[bgr], data_samples=[SegDataSample(metainfo=dict(ori_shape=(64, 96)))])
    np.testing.assert_array_equal(shown.labels, model.test_step(batch)[0].pred_sem_seg.data[0])
    assert shown.vocabulary == NAMES
    image = model.data_preprocessor(dict(inputs=[bgr]), False)["inputs"][0]
    _, correlation = literal.look(model.backbone.image_tower, image, "cliptrase")
    for index, patch in enumerate((0, 95, 2 * 12 + 6)):
        torch.testing.assert_close(
            torch.from_numpy(shown.correlation[index].ravel()), correlation[1 + patch, 1:], atol=1e-5, rtol=1e-4
        )
        np.testing.assert_allclose(shown.denoised[index].ravel(), literal.denoised(correlation)[patch], atol=1e-5)
    clusters = literal.clusters_of(correlation, model.region_finder.epsilon, model.region_finder.min_samples)
    np.testing.assert_array_equal(shown.regions, literal.regions_of(correlation, clusters, (8, 12), (64, 96)))
    with pytest.raises(ValueError, match=r"the point \(96, 0\) \(x, y\) is outside"):
        explain(model, pixels, [(96, 0)])
    with pytest.raises(ValueError, match="finds no regions"):
        explain(tiny_training_free(attention="value"), pixels)


def test_middles_of_the_largest_regions():
    regions = np.zeros((6, 9), int)
    regions[1:4, 5:8] = 1
    regions[5, 0] = 2
    assert middles(regions, 2)[1] == (6, 2)
    x, y = middles(regions, 1)[0]
    assert regions[y, x] == 0
    assert middles(regions, 9)[-1] == (0, 5)


class ThreeImages:
    """Two classes and a fold of two words into the second."""

    metainfo = dict(classes=("cat", "background", "dog"), vocabulary=("cat", "sky", "wall", "dog"), folds=(0, 1, 1, 2))

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict:
        labels = torch.zeros(1, 64, 64, dtype=torch.long)
        labels[:, :, 32:] = 1
        labels[:, 32:] = 255
        image = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=dict(ori_shape=(64, 64)))
        return dict(inputs=image, data_samples=sample)


@torch.no_grad()
def test_class_embeddings():
    model = tiny_segmentor()
    dataset = ThreeImages()
    found = class_embeddings(model, dataset, images=2)
    assert found.names == ("cat", "background")
    tokens = []
    for index in (0, 2):  # evenly spread
        sample = dataset[index]
        batch = dict(inputs=[sample["inputs"]], data_samples=[sample["data_samples"]])
        dense, *_, text = model.extract_feat(model.data_preprocessor(batch, False)["inputs"])
        tokens.append(F.normalize(dense[0], dim=0))
    expected = F.normalize(torch.cat([x[:, :4, 4:].flatten(1) for x in tokens], dim=1).mean(dim=1), dim=0)
    torch.testing.assert_close(found.image[1], expected)
    torch.testing.assert_close(found.text[1], F.normalize(text[1, 0] + text[2, 0], dim=0))
    matrices = found.matrices()
    torch.testing.assert_close(matrices["text and image"][0, 1], found.text[0] @ found.image[1])
    torch.testing.assert_close(matrices["image"].diagonal(), torch.ones(2))


def test_contrast_by_hand():
    assert contrast(np.array([[1.0, 0.2], [0.4, 0.8]])) == pytest.approx(0.6)


def test_figures(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    maps = np.random.default_rng(1).random((2, 6, 8))
    figures = {
        "points": point_figure(image, [(3, 4), (30, 20)], {"a": maps, "b": maps}),
        "depth": depth_figure(image, np.random.default_rng(2).random((7, 6, 8)), threshold=0.9),
        "matrix": matrix_figure(["cat", "dog"], {"frozen": {"text": np.eye(2)}, "tuned": {"text": np.eye(2)}}),
    }
    # panels: 2 points x (pixels + 2 maps); 7 blocks in rows of 6 and the curve; 2 matrices and their scale
    panels = {name: [axis for axis in figure.axes if axis.images or axis.lines] for name, figure in figures.items()}
    assert [len(panels[name]) for name in ("points", "depth")] == [6, 8]
    assert "tuned: text\ndiagonal above the rest by 1.000" in [axis.get_title() for axis in panels["matrix"]]
    share = panels["depth"][-1].lines[0].get_ydata()
    block = np.random.default_rng(2).random((7, 6, 8))[3]
    assert share[3] == pytest.approx(100 * block[block >= 0.9].sum() / block.sum())
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png", dpi=30)
        assert np.asarray(Image.open(tmp_path / f"{name}.png")).std() > 0


class Sources(HTMLParser):
    """All images and texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])

    def handle_data(self, data):
        self.texts.append(data)


def test_gallery_escapes(tmp_path):
    write_gallery(tmp_path / "index.html", "A & B", [Section("<x>.jpg", [('say "hi" <b>', "a #1.png")])])
    page = Sources()
    page.feed((tmp_path / "index.html").read_text())
    assert page.images == ["a%20%231.png"]
    assert 'say "hi" <b>' in page.texts and "<x>.jpg" in page.texts
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_tool(monkeypatch, capsys, tmp_path):
    scene = render_scene(seed=1, index=0, size=96, names=SCENE_CLASSES, num_objects=(2, 2), radius=(20.0, 30.0))
    (tmp_path / "images").mkdir()
    Image.fromarray(scene.image).save(tmp_path / "images/a b.png")
    (tmp_path / "images/broken.png").write_bytes(b"no pixels")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [
        "tools/visualize.py", "images", "--vocab", "red plain star, grass, water", "--points", "10,20", "90,50",
        "--similarity", "configs/hclip/hclip_tiny_scenes.py", "--samples", "2", "--out-dir", "shown", "--device", "cpu",
    ])  # fmt: skip
    monkeypatch.setattr(SceneDataset, "load_data_list", lambda self: _short(self))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(REPOSITORY / "tools/visualize.py"), run_name="__main__")
    assert ended.value.code == 1
    assert "broken.png" in capsys.readouterr().err
    page = Sources()
    page.feed((tmp_path / "shown/index.html").read_text())
    assert len(page.images) == 5
    for pixels in page.images:
        assert (tmp_path / "shown" / pixels.replace("%20", " ")).is_file()


LISTED = SceneDataset.load_data_list


def _short(dataset: SceneDataset) -> list[dict]:
    dataset.length = 2
    return LISTED(dataset)
