"""What visitors ask, without a browser."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image

from hclip_mmseg.demo import asking
from hclip_mmseg.demo.asking import Request, answer, read_upload
from hclip_mmseg.demo.examples import write_examples
from hclip_mmseg.demo.html import hover_svg, result_table
from hclip_mmseg.demo.models import ModelShelf, offered_models
from hclip_mmseg.results import Boxes, Result, Segment
from hclip_mmseg.visualization import draw_heat_map

NACLIP = "naclip_tiny_scenes"


@pytest.fixture(scope="module")
def shelf():
    return ModelShelf(offered_models(()), "cpu", kept=2)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The first example: its pixels and names."""
    example = write_examples(tmp_path_factory.mktemp("examples"))["scene_1"]
    return read_upload(example.path), example.names


def test_a_request_comes_back_from_its_address():
    request = Request("b", "cat, grün & blau", "sky", 0.25, True, "scene_2")
    plain = Request("a", "dog", example="scene_1")
    query = dict(parse_qsl(request.query()[1:]))
    assert plain.updated(query, ("a", "b"), ("scene_1", "scene_2")) == request
    assert plain.updated({}, ("a", "b"), ()) == plain
    wrong = dict(model="/etc/passwd", example="../x", threshold="nan", names="cat")
    assert plain.updated(wrong, ("a", "b"), ("scene_1",)) == Request("a", "cat", example="scene_1")


def test_an_answer_holds_the_result_the_frozen_clip_and_heat_maps(shelf, scene):
    image, names = scene
    found = answer(Request(NACLIP, names, compare=True), image, shelf)
    assert found.result.vocabulary == found.frozen.vocabulary == tuple(names.split(", "))
    assert not np.array_equal(found.result.labels, found.frozen.labels)
    assert [title.split(",")[0] for _, title in found.heat_maps][0] == max(
        found.result.presence, key=found.result.presence.get
    )
    assert not found.notes
    weak = answer(Request(NACLIP, names, threshold=0.9), image, shelf).result
    assert (weak.labels == np.where(weak.certainty >= 0.9, found.result.labels, 255)).all() and 255 in weak.labels
    assert "background" in answer(Request(NACLIP, "cat", background=names), image, shelf).result.vocabulary


def test_a_model_that_is_its_frozen_clip_says_so(shelf, scene, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where no training left a checkpoint
    (note,) = answer(Request("hclip_tiny_scenes", scene[1], compare=True), scene[0], shelf).notes
    assert note == "no comparison: this model is its frozen CLIP already: it has no trained weights here"


def test_models_are_opened_once_and_the_oldest_leaves(shelf):
    first = shelf.inferencer(NACLIP)
    assert shelf.inferencer(NACLIP) is first
    shelf.inferencer("hclip_tiny_scenes"), shelf.inferencer("cliptrase_tiny_scenes")
    assert shelf.inferencer(NACLIP) is not first
    with pytest.raises(ValueError, match=r"no model '/etc/x\.py' is offered here; there are hclip_tiny_scenes"):
        shelf.inferencer("/etc/x.py")


def test_texts_of_visitors_name_no_file(shelf, scene, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("password one\npassword two\n")
    for request in (Request(NACLIP, str(secret)), Request(NACLIP, "cat", background=str(secret))):
        with pytest.warns(UserWarning, match="look like a file's syntax"):
            assert not any("password" in name for name in answer(request, scene[0], shelf).result.vocabulary)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(names=" "), "no class names"),
        (dict(names="cat, cat"), "'cat' is given 2 times"),
        (dict(names="x" * 60_000), "at most 50000 characters"),
        (dict(names=", ".join(f"{n} thing" for n in range(1001))), "1001 class names; at most 1000"),
        (dict(threshold=2.0), "threshold is a number from 0 to 1"),
        (dict(model="other"), "no model 'other' is offered"),
    ],
)
def test_wrong_requests_are_refused(shelf, scene, change, said):
    with pytest.raises(ValueError, match=said):
        answer(Request(**{**dict(model=NACLIP, names="cat"), **change}), scene[0], shelf)


def test_wrong_uploads_are_refused_without_their_folder(tmp_path, monkeypatch):
    broken, large = tmp_path / "broken.png", tmp_path / "large.png"
    broken.write_bytes(b"no image")
    Image.new("RGB", (40, 30)).save(large)
    monkeypatch.setattr(asking, "MOST_PIXELS", 1000)
    for path, said in ((broken, "broken.png is no image"), (large, "large.png has 30 x 40 pixels")):
        with pytest.raises(ValueError, match=f"^{said}"):
            read_upload(path)


def test_drawings_and_tables_hold_names_as_text_alone():
    evil = '<script>alert("x")</script>'
    image, labels = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.int64)
    labels[2:5, 2:5] = 1
    ids = labels.astype(np.int32) + 1
    boxes = Boxes(np.array([[1, 2, 5, 7]], np.float32), np.array([0.75], np.float32), np.array([1]))
    segments = (Segment(2, 1, True, f"{evil} 1", 9 / 64),)
    for fields, said in (
        (dict(labels=labels), r"<title>cat, 85\.9%</title>.*<title>[^<]*, 14\.1%</title>"),
        (dict(labels=labels, ids=ids, segments=segments), r"<title>[^<]* 1, 14\.1%</title>"),
        (dict(boxes=boxes), r'<rect class="box" x="1.0" y="2.0" width="4.0" height="5.0".*<title>[^<]*, 0\.75</title>'),
    ):
        result = Result("park.jpg", image, ("cat", evil), **fields)
        drawn, table = hover_svg(result), result_table(result)
        assert "<script" not in drawn + table and re.search(said, drawn)
        assert "&lt;script&gt;" in table
        colours = set(re.findall(r"fill=\"(#\w{6})\"", drawn))
        assert colours and colours <= set(re.findall(r"background:(#\w{6})", table))


def test_heat_maps_have_one_scale():
    image = np.full((2, 3, 3), 100, np.uint8)
    scores = np.array([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]])
    drawn = draw_heat_map(image, scores).astype(int)
    assert drawn[0, 0].sum() < drawn[0, 1].sum() < drawn[0, 2].sum()
    assert np.array_equal(draw_heat_map(image, scores / 2)[0, 2], drawn[0, 1])
    with pytest.raises(ValueError, match="differ in size"):
        draw_heat_map(image, scores.T)


def test_models_that_are_offered(tmp_path):
    assert [model.name for model in offered_models(())][0] == "hclip_tiny_scenes"
    (model, other) = offered_models(["configs/detection/hclip_tiny_scenes.py", "cat-seg_vitl14"], "best.pth")
    assert (model.checkpoint, other.checkpoint, other.name) == ("best.pth", None, "cat-seg_vitl14")
    with pytest.raises(ValueError, match="two models are called hclip_tiny_scenes"):
        offered_models(["configs/detection/hclip_tiny_scenes.py", "configs/hclip/hclip_tiny_scenes.py"])
    with pytest.raises(ValueError, match="cat-seg_vitl15"):
        offered_models(["cat-seg_vitl15"])
