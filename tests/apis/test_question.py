"""What competes with the class names, and when a pixel has none of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from hclip_mmseg.apis import OpenVocabInferencer
from hclip_mmseg.apis.question import Rules, ask, read_thresholds
from hclip_mmseg.clip.templates import read_templates
from hclip_mmseg.results import Boxes
from hclip_mmseg.vocabularies import Vocabulary, as_vocabulary

IMAGE = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
NAMES = ["cat", "grass", "traffic light", "wall", "sky", "dog"]


@pytest.fixture(scope="module", params=["segmentor", "training-free"])
def inferencer(request, repository, tiny_config, tmp_path_factory):
    if request.param == "training-free":
        return OpenVocabInferencer(repository / "configs/cliptrase/sclip_tiny_scenes.py", device="cpu")
    torch.manual_seed(3)
    model = MODELS.build({**Config.fromfile(tiny_config).model.to_dict(), "_scope_": "mmseg"})
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    return OpenVocabInferencer(tiny_config, path, device="cpu")


@pytest.fixture(scope="module")
def plain(inferencer):
    """The result for all names as classes, with scores."""
    return next(inferencer(IMAGE, NAMES, scores=True))


def test_names_of_the_background_compete_and_are_called_so(inferencer, plain):
    (result,) = inferencer(IMAGE, NAMES[:3], background="wall, sky, dog", scores=True)
    assert result.vocabulary == ("cat", "grass", "traffic light", "background")
    assert np.allclose(result.scores[:3], plain.scores[:3], atol=1e-4)
    assert (result.scores[3] >= plain.scores[3:].max(axis=0) - 1e-6).all(), "the best of each before they are resized"
    assert result.presence["background"] == pytest.approx(max(plain.presence[name] for name in NAMES[3:]))
    assert (result.labels == result.scores.argmax(axis=0)).mean() > 0.99


def test_negative_names_compete_and_are_not_reported(inferencer, plain):
    (result,) = inferencer(IMAGE, NAMES[:3], negatives=NAMES[3:], scores=True)
    assert result.vocabulary == tuple(NAMES[:3]) and result.scores.shape == (3, 50, 70)
    assert np.array_equal(result.labels, np.where(plain.labels < 3, plain.labels, 255))
    assert np.allclose(result.scores, plain.scores[:3], atol=1e-6)


def test_thresholds_leave_pixels_out_or_call_them_other(inferencer, plain):
    limit = float(np.median(plain.certainty))
    rules = dict(threshold={"cat": 1.0, **dict.fromkeys(NAMES[1:], limit)})
    (result,) = inferencer(IMAGE, NAMES, **rules)
    weak = np.where(plain.labels == 0, plain.certainty < 1, plain.certainty < limit)
    assert weak.any() and not weak.all()
    assert np.array_equal(result.labels, np.where(weak, 255, plain.labels))
    (other,) = inferencer(IMAGE, NAMES, **rules, other=True)
    assert other.vocabulary[-1] == "other" and np.array_equal(other.labels, np.where(weak, 6, plain.labels))


def test_absent_names_are_dropped(inferencer, plain):
    levels = sorted({round(presence, 3) for presence in plain.presence.values()})
    limit = (levels[1] + levels[2]) / 2  # names that a tiny CLIP never saw are all alike to it
    (result,) = inferencer(IMAGE, NAMES, drop_absent=limit, scores=True)
    kept = [index for index, name in enumerate(NAMES) if plain.presence[name] >= limit]
    assert 1 <= len(kept) < len(NAMES) and set(np.unique(result.labels)) <= set(kept)
    assert result.presence == pytest.approx(plain.presence)
    (nothing,) = inferencer(IMAGE, NAMES, drop_absent=1.0)
    assert (nothing.labels == 255).all() and nothing.shares() == {}


def test_rules_stay_until_others_are_given(inferencer, plain):
    inferencer.set_vocabulary(NAMES[:3], negatives=NAMES[3:])
    (kept,) = inferencer(IMAGE)
    (again,) = inferencer(IMAGE, templates="a photo of a {}")
    assert (kept.labels == 255).any() and again.vocabulary == tuple(NAMES[:3])
    (changed,) = inferencer(IMAGE, threshold=1.0)
    assert changed.vocabulary == tuple(NAMES[:3]) and (changed.labels == 255).all()
    (without,) = inferencer(IMAGE, NAMES[:3])
    assert (without.labels < 3).all()
    inferencer.set_templates("scene")


@pytest.mark.parametrize("merge", ["max", "mean"])
def test_several_names_are_one_class(inferencer, merge):
    vocabulary = Vocabulary(("animal", "grass"), members=(("cat", "dog"), ("grass",)))
    (apart,) = inferencer(IMAGE, ["cat", "dog", "grass"], scores=True)
    (result,) = inferencer(IMAGE, vocabulary, merge=merge, scores=True)
    assert result.vocabulary == ("animal", "grass")
    joined = apart.scores[:2].max(axis=0) if merge == "max" else apart.scores[:2].mean(axis=0)
    if merge == "max":
        assert (result.scores[0] >= joined - 1e-6).all()
        assert result.presence["animal"] == pytest.approx(max(apart.presence["cat"], apart.presence["dog"]))
    else:
        assert np.allclose(result.scores[0], joined, atol=1e-6)
    assert np.allclose(result.scores[1], apart.scores[2], atol=1e-6)


def test_synonyms_are_one_class_where_they_are_to_be_merged():
    vocabulary = as_vocabulary(["sofa, couch", "grass", "seat, couch, chair"])
    assert ask(vocabulary, Rules()).compared is vocabulary, "the model takes the first synonym, or all, as published"
    question = ask(vocabulary, Rules(merge="mean"))
    assert question.names == vocabulary.titles and question.groups.merge == "mean"
    assert question.compared.titles == ("sofa", "couch", "grass", "seat", "chair"), "a name counts for its first class"
    assert question.groups.folds == (0, 0, 1, 2, 2)
    with pytest.raises(ValueError, match="all names of 'couch' stand for earlier classes"):
        ask(as_vocabulary(["sofa, couch", "couch"]), Rules(merge="max"))


def test_a_benchmark_may_ask_for_a_name_twice():
    vocabulary = Vocabulary(("cat", "rest"), members=(("cat",), ("sky", "sky")))
    question = ask(vocabulary, Rules(negatives="dog"))
    assert as_vocabulary(question.compared).titles == ("cat", "sky", "sky", "dog")
    assert question.groups.folds == (0, 1, 1, 2)


def test_boxes_of_competitors_are_left_out():
    rules = Rules(background="wall, sky", negatives="toy", threshold="0.2, cat=0.5", drop_absent=0.3)
    question = ask(as_vocabulary(["cat", "dog", "bird"]), rules, ["car"])
    assert question.compared.titles == ("cat", "dog", "bird", "wall", "sky", "toy", "car")
    scores = np.array([0.9, 0.9, 0.9, 0.9, 0.9, 0.4, 0.35, 0.29, 0.1], np.float32)
    boxes = Boxes(np.zeros((9, 4), np.float32), scores, np.array([0, 3, 4, 5, 6, 0, 1, 2, 1]))
    result = question.detected("a.png", IMAGE, boxes)
    assert result.boxes.labels.tolist() == [0, 1] and result.boxes.scores.tolist() == pytest.approx([0.9, 0.35])
    assert result.presence["dog"] == pytest.approx(0.35) and result.presence["background"] == pytest.approx(0.9)


def test_a_benchmarks_own_background_takes_the_names_given():
    vocabulary = Vocabulary(("cat", "wall", "floor"), background_from=1)
    question = ask(vocabulary, Rules(background=["sky"]))
    assert question.names == ("background", "cat") and question.groups.folds == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (dict(background="sky, cat"), "'cat' is a class name and in background: give it once"),
        (dict(background=" "), "background holds no names: give some, or leave it out"),
        (dict(negatives=[]), "negatives holds no names"),
        (dict(background="sky", negatives="Sky"), "'Sky' is in background and in negatives"),
        (dict(threshold=1.5), "the threshold is a number from 0 to 1, not 1.5"),
        (
            dict(threshold="0.3, cta=0.5"),
            "a threshold for 'cta', which is none of the 2 class names; did you mean 'cat'",
        ),
        (dict(threshold="cat=high"), "the threshold of 'cat' is a number from 0 to 1, not 'high'"),
        (dict(drop_absent=-1), "drop_absent is a number from 0 to 1"),
        (dict(merge="median"), "merge must be one of max, mean"),
        (dict(other=True), "other needs a threshold or drop_absent"),
    ],
)
def test_wrong_rules_end_in_one_line(rules, said):
    with pytest.raises(ValueError, match=said):
        ask(as_vocabulary(["cat", "grass, lawn"]), Rules(**rules))


def test_thresholds_go_by_title_or_first_synonym():
    names = ("cat", "grass, lawn", "sky")
    assert read_thresholds("0.25, grass=0.5", names) == (0.25, 0.5, 0.25)
    assert read_thresholds({"grass, lawn": 0.5}, names) == (0.0, 0.5, 0.0)


def test_templates_from_a_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("# of drawings\na drawing of a {}\n\na sketch of {article} {}\n")
    assert read_templates(path) == read_templates(str(path)) == ["a drawing of a {}", "a sketch of {article} {}"]
    assert read_templates("vild") == "vild" and read_templates("a {}.") == "a {}."
    path.write_text("\n")
    with pytest.raises(ValueError, match="holds no prompt template"):
        read_templates(path)
    with pytest.raises(FileNotFoundError, match="no file of prompt templates"):
        read_templates("absent.txt")
