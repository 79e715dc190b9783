"""The protocol of the field: sizes, windows, synonyms, thresholds, against loops over windows and names."""

from __future__ import annotations

import math

import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_training_free import NAMES, textured_images, tiny_training_free

from hclip_mmseg.clip.positions import resized_positions
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.reference import training_free as literal
from hclip_mmseg.training_free.decisions import Decision, ScoredImage, decide
from hclip_mmseg.training_free.protocol import (
    PRESETS,
    Protocol,
    Settings,
    available_protocols,
    build_protocol,
    class_of_each_name,
    recognised,
)
from hclip_mmseg.training_free.windows import Windows, WindowScores, protocol_sizes
from hclip_mmseg.vocabularies import Vocabulary, as_vocabulary, load_vocabulary, read_class_file

SMALL = dict(short_side=40, window=32, stride=16)
FULL = {"clip", "sclip", "cliptrase"}
MEMBERS = Vocabulary(
    ("background, sky, grass", "cat", "traffic light, lamp"),
    members=(("background", "sky", "grass"), ("cat",), ("traffic light", "lamp")),
)
CLASSES = (0, 0, 0, 1, 2, 2)


def protocol_model(attention="sclip", protocol=None, **changes):
    """A tiny random segmentor with a protocol of small windows."""
    changed = dict(type="sclip", **SMALL) | dict(protocol or {})
    return tiny_training_free(attention=attention, protocol=changed, regions=None, **changes)


def labels_of(results):
    return [result.pred_sem_seg.data[0] for result in results]


def predict(model, image, size):
    return labels_of(model.predict(image, [SegDataSample(metainfo=dict(ori_shape=size)) for _ in image]))[0]


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        *[("clip", (50, 63)), ("value", (64, 20)), ("sclip", (40, 61)), ("clearclip", (40, 40)), ("naclip", (45, 90))],
        *[("cliptrase", (70, 50)), ("naclip", (8, 30))],
    ],
)
@torch.no_grad()
def test_labels_are_the_loops(form, shape):
    model = protocol_model(form)
    image = textured_images(1, *shape)
    full = form in FULL
    dense = literal.dense_of_form(model.backbone.image_tower, form, residual=full, mlp=full)
    expected = literal.segment(dense, image[0], model.text(), (75, 120), range(len(NAMES)), **SMALL)
    found = predict(model, image, (75, 120))
    assert (found == expected).float().mean() > 0.999  # pixels whose best two differ by rounding
    assert len(expected.unique()) > 1


@pytest.mark.parametrize(("prob_thd", "area_thd"), [(0.2, 0.0), (0.2, 0.3)])
@torch.no_grad()
def test_synonyms_and_thresholds_are_the_loops(prob_thd, area_thd):
    settings = dict(pad=24, logit_scale=90.0, prob_thd=prob_thd, area_thd=area_thd)
    model = protocol_model("value")
    model.windowed.protocol = Protocol("sclip", **{**SMALL, **settings})
    model.set_vocabulary(MEMBERS)
    assert model.vocabulary == MEMBERS.asked
    image = textured_images(1, 57, 71)
    dense = literal.dense_of_form(model.backbone.image_tower, "value", residual=False, mlp=False)
    settings["area_thd"] = area_thd or None
    expected = literal.segment(dense, image[0], model.text(), (70, 90), CLASSES, **{**SMALL, **settings})
    found = torch.tensor(CLASSES)[predict(model, image, (70, 90))]
    assert (found == expected).float().mean() > 0.999


@torch.no_grad()
def test_a_batch_of_different_images_is_one_by_one():
    model = protocol_model("naclip")
    shapes, sizes = [(50, 60), (64, 40), (33, 64)], [(20, 30), (64, 40), (80, 90)]
    images = [textured_images(1, *shape)[0] for shape in shapes]
    batch = torch.stack([torch.nn.functional.pad(x, (0, 64 - x.shape[2], 0, 64 - x.shape[1])) for x in images])
    samples = [
        SegDataSample(metainfo=dict(ori_shape=size, padding_size=[0, 64 - shape[1], 0, 64 - shape[0]]))
        for shape, size in zip(shapes, sizes, strict=True)
    ]
    together = labels_of(model.predict(batch, samples))
    for image, size, label in zip(images, sizes, together, strict=True):
        assert label.equal(predict(model, image[None], size))
    model.windowed.windows_at_once = 1
    close = labels_of(model.predict(batch, samples))
    assert all((a == b).float().mean() > 0.999 for a, b in zip(close, together, strict=True))


@torch.no_grad()
def test_a_window_of_the_whole_image_is_the_whole_image():
    image = textured_images(1, 64, 80)
    model = protocol_model(protocol=dict(window=0))
    whole = predict(model, image, (64, 80))
    model.windowed.protocol = Protocol("sclip", short_side=40, window=200)
    assert whole.equal(predict(model, image, (64, 80)))


@torch.no_grad()
def test_scores_are_probabilities_of_the_names():
    model = protocol_model()
    result = model.predict(textured_images(1))[0]
    scores = result.seg_logits.data
    torch.testing.assert_close(scores.sum(dim=0), torch.ones(64, 64))
    assert scores.argmax(dim=0).equal(result.pred_sem_seg.data[0])


def test_flipped_images_come_back():
    model = protocol_model()
    image = textured_images(1, 40, 64)
    sample = SegDataSample(metainfo=dict(ori_shape=(40, 64), flip=True, flip_direction="horizontal"))
    flipped = labels_of(model.predict(image.flip(-1), [sample]))[0]
    assert not flipped.equal(flipped.flip(-1))
    assert flipped.flip(-1).equal(predict(model, image.flip(-1), (40, 64)))


# ---- windows and sizes


@pytest.mark.parametrize(
    ("size", "settings", "expected"),
    [
        ((375, 500), dict(short_side=336), (336, 448)),
        ((500, 333), dict(short_side=336), (505, 336)),  # 504.5: halves up
        ((100, 2000), dict(short_side=336), (102, 2048)),
        ((375, 500), dict(short_side=448, multiple=16), (448, 608)),
    ],
)
def test_sizes(size, settings, expected):
    assert protocol_sizes(size, Settings(**settings))[1] == expected


@pytest.mark.parametrize("image", [(336, 448), (336, 336), (100, 700), (225, 224), (560, 1120)])
@pytest.mark.parametrize("settings", [dict(), dict(window=336, pad=56), dict(window=336, stride=224, pad=56)])
def test_windows_cover_the_image(image, settings):
    settings = Settings(**settings)
    windows, (height, width) = Windows.of(image, settings), image
    expected = []
    for i in range(max(height - settings.window + settings.stride - 1, 0) // settings.stride + 1):
        for j in range(max(width - settings.window + settings.stride - 1, 0) // settings.stride + 1):
            bottom = min(i * settings.stride + settings.window, height)
            right = min(j * settings.stride + settings.window, width)
            expected.append((max(bottom - settings.window, 0), max(right - settings.window, 0)))
    assert list(windows.places) == expected
    visits = torch.zeros(image)
    for top, left in windows.places:
        visits[top : top + windows.size[0], left : left + windows.size[1]] += 1
    assert torch.outer(windows.visits(0), windows.visits(1)).float().equal(visits) and visits.min() >= 1
    pixels = torch.randn(3, *image)
    cut = windows.cut(pixels)
    assert all(side % settings.pad == 0 for side in cut.shape[-2:])
    top, left = windows.margin
    place = windows.places[-1]
    own = cut[-1, :, top : top + windows.size[0], left : left + windows.size[1]]
    assert own.equal(pixels[:, place[0] : place[0] + windows.size[0], place[1] : place[1] + windows.size[1]])
    own = [pixels[:, t : t + windows.size[0], x : x + windows.size[1]].abs().sum() for t, x in windows.places]
    assert float(cut.abs().sum()) == pytest.approx(float(sum(own)), rel=1e-4), "zeros around"


def test_stitching():
    one = Windows.of((48, 64), Settings(window=0))
    maps = torch.randn(1, 5, 6, 8)
    assert one.stitched(maps).equal(maps[0]), "one window is the whole"
    # windows that see the same tokens where they overlap give the tokens of the image, padding or not
    image = torch.randn(5, 14, 21)
    for pad in (8, 40):
        windows = Windows.of((112, 168), Settings(window=64, stride=24, pad=pad))
        top, left = windows.margin
        parts = []
        for place in windows.places:
            part = torch.full((5, windows.padded[0] // 8, windows.padded[1] // 8), torch.nan)
            inside = image[:, place[0] // 8 : place[0] // 8 + 8, place[1] // 8 : place[1] // 8 + 8]
            part[:, top // 8 : top // 8 + 8, left // 8 : left // 8 + 8] = inside
            parts.append(part)
        torch.testing.assert_close(windows.stitched(torch.stack(parts)), image)


def test_stitching_on_the_published_grid():
    """OV-Stitcher's code: image // patch tokens, windows at start // patch, ceil(padding / patch) tokens cut off."""
    patch = 8
    for image, window, stride, pad in [
        ((117, 150), 64, 24, 8), ((112, 115), 64, 40, 56), ((61, 130), 64, 24, 56), ((59, 47), 64, 24, 64)
    ]:  # fmt: skip
        windows = Windows.of(image, Settings(window=window, stride=stride, pad=pad))
        rows, columns = image[0] // patch, image[1] // patch
        grid = windows.padded[0] // patch, windows.padded[1] // patch
        maps = torch.randn(len(windows.places), 3, *grid)
        total, count = torch.zeros(3, rows, columns), torch.zeros(rows, columns)
        skip = [math.ceil(side / patch) for side in windows.margin]
        for (top, left), own in zip(windows.places, maps, strict=True):
            for i in range(windows.size[0] // patch):
                for j in range(windows.size[1] // patch):
                    total[:, top // patch + i, left // patch + j] += own[:, skip[0] + i, skip[1] + j]
                    count[top // patch + i, left // patch + j] += 1
        assert count.min() >= 1 and windows.stitched_grid(grid) == (rows, columns)
        torch.testing.assert_close(windows.stitched(maps), total / count)


def test_stitching_leaves_no_token_out():
    for image, window, pad, patch in [((60, 96), 20, 16, 8), ((5, 90), 64, 56, 8), ((33, 47), 30, 1, 8)]:
        windows = Windows.of(image, Settings(window=window, stride=window, pad=pad))
        grid = max(windows.padded[0] // patch, 1), max(windows.padded[1] // patch, 1)
        found = windows.stitched(torch.ones(len(windows.places), 1, *grid))
        assert found.eq(1).all() and found.shape[1:] == windows.stitched_grid(grid)


def test_maps_of_some_names_are_those_of_all():
    windows = Windows.of((40, 56), Settings(window=32, stride=16))
    scores = WindowScores(torch.randn(len(windows.places), 7, 4, 4), windows)
    whole = scores.maps(slice(0, 7), (61, 33))
    torch.testing.assert_close(scores.maps(slice(2, 5), (61, 33)), whole[2:5])


def test_scores_of_stitched_tokens_go_straight_where_the_protocol_says_so():
    windows, scores = Windows.of((40, 56), Settings(window=0)), torch.randn(1, 3, 5, 7)
    straight = torch.nn.functional.interpolate(scores, size=(61, 33), mode="bilinear")[0]
    by_way = WindowScores(scores, windows).maps(slice(0, 3), (61, 33))
    found = WindowScores(scores, windows, straight=True).maps(slice(0, 3), (61, 33))
    torch.testing.assert_close(found, straight)
    assert not by_way.allclose(straight)
    assert Protocol("trident").settings(load_vocabulary("ade20k_150")).straight and not Settings().straight


@pytest.mark.parametrize("pad", [1, 40])
def test_maps_are_those_of_windows_enlarged_one_by_one(pad):
    windows = Windows.of((40, 56), Settings(window=32, stride=16, pad=pad))
    scores = torch.randn(len(windows.places), 3, 4, 5)
    total, visits = torch.zeros(3, 40, 56), torch.zeros(40, 56)
    (height, width), (above, before) = windows.size, windows.margin
    for (top, left), own in zip(windows.places, scores, strict=True):
        pixels = torch.nn.functional.interpolate(own[None], size=windows.padded, mode="bilinear")[0]
        total[:, top : top + height, left : left + width] += pixels[:, above : above + height, before : before + width]
        visits[top : top + height, left : left + width] += 1
    expected = torch.nn.functional.interpolate((total / visits)[None], size=(61, 33), mode="bilinear")[0]
    torch.testing.assert_close(WindowScores(scores, windows).maps(slice(0, 3), (61, 33)), expected)


# ---- decisions


@pytest.mark.parametrize("budget", [1 << 27, 4 * 20 * 30 * 2, 1])
@pytest.mark.parametrize("settings", [dict(), dict(prob_thd=0.4), dict(area_thd=0.3), dict(prob_thd=0.4, area_thd=0.3)])
def test_decisions_by_parts_are_the_loops(budget, settings):
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(6, 20, 30, generator=generator) / 20
    image = ScoredImage(lambda chosen: scores[chosen], (20, 30), 6, budget)
    found = torch.tensor(CLASSES)[decide(image, Decision(40.0, CLASSES, background=True, **settings))]
    expected = literal.decide(scores, 40.0, CLASSES, settings.get("prob_thd", 0.0), settings.get("area_thd"))
    assert found.equal(expected)
    torch.testing.assert_close(image.probabilities(40.0), (40 * scores).softmax(dim=0))


@pytest.mark.parametrize("budget", [1 << 27, 1])
def test_absent_names_are_left_out(budget):
    scores = torch.tensor([[[0.3, 0.2]], [[0.29, 0.1]], [[0.0, 0.21]]])
    image = ScoredImage(lambda chosen: scores[chosen], (1, 2), 3, budget)
    largest = (10 * scores).softmax(dim=0).flatten(1).amax(dim=1)
    assert decide(image, Decision(10.0, (0, 1, 2))).tolist() == [[0, 2]]
    between = float(largest[2] + 1e-3)
    assert largest[0] > between
    settings = dict(absent_scale=10.0)
    assert decide(image, Decision(10.0, (0, 1, 2), absent_below=between, **settings)).tolist() == [[0, 0]]
    assert decide(image, Decision(10.0, (0, 1, 2), absent_below=0.999, **settings)).tolist() == [[0, 0]]


# ---- presets


def test_presets_hold_what_the_repositories_configs_say():
    def of(protocol, name):
        return Protocol(protocol).settings(load_vocabulary(name))

    voc21 = of("sclip", "pascal_voc_21@sclip")
    assert (voc21.short_side, voc21.window, voc21.stride, voc21.logit_scale) == (336, 224, 112, 65)
    assert (voc21.prob_thd, voc21.area_thd) == (0.1, 0.1)
    assert of("sclip", "cityscapes_19@sclip").short_side == 560 and of("sclip", "coco_stuff_171").short_side == 448
    assert of("sclip", "coco_object_81@sclip") == Settings(logit_scale=50, prob_thd=0.1)
    assert of("sclip", "ade20k_150@sclip") == Settings()
    assert of("sc-clip", "coco_object_81@sclip") == Settings(logit_scale=55, prob_thd=0.35)
    assert of("sc-clip", "pascal_voc_21@sclip") == Settings(logit_scale=50, prob_thd=0.15, area_thd=0.1)
    assert of("clearclip", "cityscapes_19") == Settings(448, window=224, stride=224, pad=16, logit_scale=50)
    assert of("clearclip", "pascal_context_60").prob_thd == 0.15 and of("clearclip", "pascal_context_59").window == 448
    assert of("proxyclip", "pascal_context_60@sclip") == Settings(window=336, pad=56, prob_thd=0.15)
    assert of("proxyclip", "cityscapes_19@sclip") == Settings(short_side=448, pad=56)
    assert of("corrclip", "coco_object_81@sclip") == of("proxyclip", "coco_object_81@sclip")
    assert of("trident", "pascal_voc_20@sclip") == Settings(multiple=16, window=336, pad=56, straight=True)
    assert of("trident", "ade20k_150").short_side == 576 and of("trident", "ade20k_150").stride == 224
    assert of("resclip", "pascal_voc_20@sclip").window == 0 and of("resclip", "pascal_context_59").window == 224
    assert "logit_scale" in Protocol("sclip").tuned(["VOC21", "PC-60", "A-150"])
    assert Protocol("proxyclip").tuned(["VOC20", "PC-59"]) == ()
    for name in available_protocols():
        built = build_protocol(dict(type=name))
        assert (built is None) == (name == "cliptrase")


def test_changes_stand_over_the_preset():
    changed = Protocol("sclip", benchmarks={"A-150": dict(stride=56)}, short_side=100)
    assert changed.settings(load_vocabulary("ade20k_150")) == Settings(short_side=100, stride=56)
    assert changed.settings(load_vocabulary("cityscapes_19")).short_side == 100


@pytest.mark.parametrize("style", ["sclip", "proxyclip"])
@pytest.mark.parametrize("name", ["pascal_voc_21", "coco_object_81", "pascal_context_60", "pascal_voc_20"])
def test_benchmarks_lists_are_recognised_by_their_names(style, name):
    vocabulary = load_vocabulary(f"{name}@{style}")
    known = recognised(vocabulary.asked)
    assert known.name.startswith(name) and class_of_each_name(known) == class_of_each_name(vocabulary)
    assert Protocol("sclip").settings(known).prob_thd == (0.0 if name == "pascal_voc_20" else 0.1)


def test_names_that_stand_twice_in_a_published_list_are_asked_for_twice():
    names = load_vocabulary("coco_object_81@sclip").asked
    assert names.count("bed") == 2, "background's and the class's"
    model = protocol_model("value")
    model.set_vocabulary(as_vocabulary(names, repeats=True))  # as the hook does
    assert model.vocabulary == names
    model.set_templates("scene")
    with pytest.raises(ValueError, match="'cat' is given 2 times"):
        model.set_vocabulary(["cat", "cat"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="slip"), "no protocol 'slip'; there are clearclip, cliptrase"),
        (dict(type="sclip", crop=224), "no setting 'crop'; it has short_side"),
        (dict(type="sclip", benchmarks=dict(nowhere=dict())), "no benchmark 'nowhere'"),
        (dict(type="sclip", window=-1), "protocol.window must be a number of pixels, at least 0"),
        (dict(type="sclip", window=64), "protocol.stride 112 must be at most protocol.window 64"),
        ("sclip", r"protocol is a dict, such as dict\(type='sclip'\), not 'sclip'"),
        (dict(type="sclip", prob_thd=1.5), "protocol.prob_thd must be from 0 to below 1"),
        (dict(type="cliptrase", window=224), "'cliptrase' has no setting 'window'"),
    ],
)
def test_what_is_wrong_with_a_protocol(config, message):
    with pytest.raises(ValueError, match=message):
        build_protocol(config)


def test_thresholds_need_a_background():
    model = protocol_model()
    for name in ("prob_thd", "area_thd"):
        model.windowed.protocol = Protocol("sclip", **{name: 0.1})
        with pytest.raises(InputError, match=f"{name} turns pixels into background, and the 5 names have none"):
            model.predict(textured_images(1))
    with pytest.raises(ValueError, match="area_thd"):
        model.set_vocabulary(["cat", "dog"])
    model.set_vocabulary(["background", "dog"])


def test_class_files(tmp_path):
    path = tmp_path / "cls_voc3.txt"
    for text in ("sky; traffic light; wall\ncat\ndog; a dog, asleep\n\n", "sky,traffic light,wall\ncat\ndog\n"):
        path.write_text(text)
        vocabulary = read_class_file(path, background=True)
        assert vocabulary.asked[:2] == ("sky", "traffic light") and vocabulary.folds[-1] == 2
        assert Protocol("sclip", prob_thd=0.1).settings(vocabulary).prob_thd == 0.1
    path.write_text("sky; a lamp, lit\ncat\ndog")
    assert read_class_file(path).members == (("sky", "a lamp, lit"), ("cat",), ("dog",))
    with pytest.raises(ValueError, match="prob_thd"):
        Protocol("sclip", prob_thd=0.1).settings(read_class_file(path))
    path.write_text("cat; person\n\ndog; person")
    assert read_class_file(path).asked == ("cat", "person", "dog", "person"), "two classes may share a name"
    path.write_text("\n")
    with pytest.raises(ValueError, match="no class names given"):
        read_class_file(path)
    with pytest.raises(FileNotFoundError, match="no file of class names"):
        read_class_file(tmp_path / "none.txt")


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match="times_cls is part of the protocol 'cliptrase'"):
        protocol_model(times_cls=True)
    with pytest.raises(ValueError, match="reach='own' is for whole images"):
        protocol_model(reach="own")
    with pytest.raises(ValueError, match="stitch: set protocol"):
        tiny_training_free(windowed=dict(stitch=True))


def test_positions_as_published():
    positions, grid, to = torch.randn(1 + 6, 4), (2, 3), (5, 4)
    found = resized_positions(positions, grid, to, "published")
    patches = positions[1:].T.reshape(1, 4, 2, 3)
    expected = torch.nn.functional.interpolate(patches, scale_factor=(5.1 / 2, 4.1 / 3), mode="bicubic")
    torch.testing.assert_close(found[1:], expected[0].flatten(1).T)
    assert found[0].equal(positions[0]) and resized_positions(positions, grid, grid, "published").equal(positions)
    assert not torch.allclose(found, resized_positions(positions, grid, to))


def test_every_preset_names_benchmarks():
    assert all(isinstance(Protocol(name), Protocol) for name in PRESETS)
