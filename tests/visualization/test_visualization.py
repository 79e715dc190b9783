"""Colours, overlays and the visualizer."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from hclip_mmseg.visualization import (
    OpenVocabVisualizationHook,
    OpenVocabVisualizer,
    class_shares,
    draw_overlay,
    name_colours,
)
from hclip_mmseg.visualization.visualization_hook import as_rgb


@pytest.mark.parametrize("count", [1, 171, 5000])
def test_no_two_names_share_a_colour(count):
    colours = name_colours([f"thing {i}" for i in range(count)])
    assert len(np.unique(colours, axis=0)) == count


def test_few_names_have_colours_far_apart():
    for start in range(0, 400, 8):
        colours = name_colours([f"word {i}" for i in range(start, start + 8)]).astype(int)
        apart = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(8, dtype=int)
        assert apart.min() > 0
        assert len({tuple(colour // 64) for colour in colours}) == 8


def seen_by(colours, missing):
    """CIELAB of RGB colours seen without one kind of cones (Vienot, Brettel and Mollon 1999; Brettel's for tritans)."""
    linear = np.where(colours <= 10, colours / 255 / 12.92, ((colours / 255 + 0.055) / 1.055) ** 2.4)
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    lms = linear @ to_lms.T
    long, middle, short = lms.T
    if missing == "long":
        lms = np.stack([2.02344 * middle - 2.52581 * short, middle, short], -1)
    elif missing == "middle":
        lms = np.stack([long, 0.494207 * long + 1.24827 * short, short], -1)
    rgb = (lms @ np.linalg.inv(to_lms).T).clip(0, 1)
    xyz = rgb @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.cbrt(xyz / (0.9505, 1, 1.089))
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


@pytest.mark.parametrize("missing", ["none", "long", "middle"])
def test_colour_blind_readers_tell_few_names_apart(missing):
    """A distance of 2.3 is just noticed; regions are blended at half their weight."""
    for start in range(0, 120, 12):
        lab = seen_by(name_colours([f"word {i}" for i in range(start, start + 12)]).astype(float), missing)
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1000 * np.eye(12)
        assert apart.min() > 6


def test_a_colour_follows_from_the_name():
    assert (name_colours(["cat", "dog"])[0] == name_colours(["cat"])[0]).all()
    assert (name_colours(["cat"]) == name_colours(["cat"])).all()


def test_shares_are_by_area_and_leave_ignored_pixels_out():
    labels = np.array([[0, 2, 2, 2], [255, 255, 0, 2]])
    assert class_shares(labels, ("cat", "dog", "tree")) == [(2, 0.5), (0, 0.25)]


def test_overlay_blends_the_colour_of_the_class():
    image = np.full((20, 30, 3), 100, np.uint8)
    labels = np.zeros((20, 30), int)
    labels[:, 15:] = 255
    drawn = draw_overlay(image, labels, ("cat",), alpha=0.5, legend=False)
    assert drawn.shape == image.shape
    expected = np.round(50 + 0.5 * name_colours(["cat"])[0])
    assert (drawn[5, 5] == expected).all()
    assert (drawn[5, 20] == 100).all(), "an ignored pixel stays as it is"


def test_legend_has_a_swatch_of_each_class_present_and_no_other():
    image = np.zeros((64, 64, 3), np.uint8)
    labels = np.zeros((64, 64), int)
    labels[40:] = 2
    names = ("cat", "dog", "tree")
    drawn = draw_overlay(image, labels, names)
    assert (drawn[:256, :256:4] == drawn[:256, 3:256:4]).all(), "a small image is enlarged four times"
    panel = drawn[:, 256:].reshape(-1, 3)
    swatches = [bool((panel == colour).all(-1).any()) for colour in name_colours(names)]
    assert swatches == [True, False, True]


def test_outlines_grow_with_the_image():
    for side, width in ((100, 1), (1000, 2), (2000, 4)):
        labels = np.zeros((side, side), int)
        labels[:, side // 2 :] = 1
        drawn = draw_overlay(np.zeros((side, side, 3), np.uint8), labels, ("cat", "dog"), legend=False)
        assert (drawn[0] == 255).all(axis=-1).sum() == width


def test_no_row_of_the_legend_says_0_percent(monkeypatch):
    written = []
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", lambda self, place, text, **_: written.append(text))
    labels = np.zeros((100, 100), int)
    labels[0, :4] = range(1, 5)
    labels[1:] = np.where(np.arange(100) < 50, 0, 5)
    draw_overlay(np.zeros((100, 100, 3), np.uint8), labels, [f"name {i}" for i in range(6)])
    assert [text.split("  ")[0] for text in written] == ["name 0", "name 5", "4 more"]
    assert written[-1] == "4 more  <0.1%"


def test_words_on_regions_do_not_cover_each_other(monkeypatch):
    fields = []

    def note(self, place, text, font, **_):
        half = font.getlength(text) / 2
        fields.append((place[0] - half, place[0] + half, place[1] - font.size / 2, place[1] + font.size / 2))

    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", note)
    labels = np.arange(240).reshape(1, -1) // 20 % 4 * np.ones((120, 1), int)  # columns, narrower than their words
    draw_overlay(np.zeros((120, 240, 3), np.uint8), labels, [f"a long name {i}" for i in range(4)],
                 legend=False, written=True)  # fmt: skip
    assert len(fields) == 4
    for place, (left, right, top, bottom) in enumerate(fields):
        assert 0 <= left and right <= 240 and 0 <= top and bottom <= 120
        for x1, x2, y1, y2 in fields[:place]:
            assert right <= x1 or x2 <= left or bottom <= y1 or y2 <= top


def test_more_classes_than_rows_still_draw():
    labels = np.arange(900).reshape(30, 30)
    names = [f"a rather long name {i} " * 3 for i in range(900)]
    drawn = draw_overlay(np.zeros((30, 30, 3), np.uint8), labels, names)
    assert drawn.shape[0] > 30


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), int), "RGB uint8"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), int), "differ in size"),
    ],
)
def test_images_that_do_not_fit_are_refused(image, labels, message):
    with pytest.raises(ValueError, match=message):
        draw_overlay(image, labels, ("cat",))


def sample(vocabulary=None):
    result = SegDataSample(
        gt_sem_seg=PixelData(data=torch.zeros(1, 8, 8, dtype=torch.long)),
        pred_sem_seg=PixelData(data=torch.ones(1, 8, 8, dtype=torch.long)),
    )
    if vocabulary:
        result.set_metainfo({"vocabulary": vocabulary})
    return result


def pixels_of(path, name):
    return (np.asarray(Image.open(path)) == name_colours(["", name])[1]).all(-1).sum()


def test_visualizer_draws_the_words_that_were_asked_for(tmp_path):
    visualizer = OpenVocabVisualizer(alpha=1.0)
    visualizer.dataset_meta = {"classes": ("sea", "rock"), "palette": None}
    image = np.zeros((8, 8, 3), np.uint8)
    asked, unasked = tmp_path / "asked.png", tmp_path / "sub" / "unasked.png"
    visualizer.add_datasample("a", image, sample(("", "pebble")), draw_gt=False, out_file=str(asked))
    visualizer.add_datasample("b", image, sample(), draw_gt=False, out_file=str(unasked))
    assert pixels_of(asked, "pebble") >= 64
    assert pixels_of(asked, "rock") == 0
    assert unasked.is_file()
    both = tmp_path / "both.png"
    visualizer.add_datasample("c", image, sample(("", "pebble")), out_file=str(both))
    assert Image.open(both).width > Image.open(asked).width


class Recorder:
    """Stands for a run and its visualizer."""

    def __init__(self, batch_size):
        self.val_dataloader = self.test_dataloader = self
        self.batch_size, self.iter, self.visualizer, self.drawn = batch_size, 7, self, {}

    def add_datasample(self, name, image, data_sample, **_):
        self.drawn[name] = image


def test_hook_draws_every_third_image_in_its_own_size():
    hook, run = OpenVocabVisualizationHook(draw=True, interval=3), Recorder(batch_size=2)
    bgr = torch.zeros(3, 8, 8, dtype=torch.uint8)
    bgr[2] = 200
    for batch in range(4):
        results = [sample(("", "pebble")) for _ in range(2)]
        for place, result in enumerate(results):
            name = f"absent/scene {2 * batch + place}.png"
            result.set_metainfo(dict(img_path=name, ori_shape=(16, 24)))
        hook.after_val_iter(run, batch, dict(inputs=[bgr, bgr]), results)
    assert list(run.drawn) == ["val_scene 0.png", "val_scene 3.png", "val_scene 6.png"]
    image = run.drawn["val_scene 3.png"]
    assert image.shape == (16, 24, 3)
    assert (image == (200, 0, 0)).all()
    hook.after_train_iter(run, 0, dict(inputs=[bgr]), None)
    assert len(run.drawn) == 3


def test_a_test_is_drawn_without_its_training_data():
    class TestAlone(Recorder):
        @property
        def iter(self):  # MMEngine's builds the training data to find it
            raise FileNotFoundError("no training data")

        @iter.setter
        def iter(self, _):
            pass

    run, result = TestAlone(batch_size=1), sample(("", "pebble"))
    result.set_metainfo(dict(img_path="scene.png", ori_shape=(8, 8)))
    images = (torch.zeros(3, 8, 8, dtype=torch.uint8),)
    hook = OpenVocabVisualizationHook(draw=True, interval=1)
    hook.after_test_iter(run, 0, dict(inputs=[images, images]), [result])  # of two views
    assert list(run.drawn) == ["test_scene.png"]


def test_visualizer_without_names_says_so():
    with pytest.raises(ValueError, match="ground truth cannot be drawn"):
        OpenVocabVisualizer().add_datasample("a", np.zeros((8, 8, 3), np.uint8), sample())


def test_padding_of_an_image_is_not_drawn():
    image = torch.zeros(3, 64, 64)
    image[:, :24, :] = torch.tensor([30.4, 20.6, 300.0])[:, None, None]  # BGR, of 12 x 32 pixels, enlarged and padded
    drawn = as_rgb(image, (12, 32), scale_factor=(2.0, 2.0))
    assert drawn.shape == (12, 32, 3) and (drawn == [255, 21, 30]).all()
