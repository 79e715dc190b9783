"""Words and images in, segments out: what is stuff, what is asked for, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoPanopticDataset
from mmengine.config import Config
from tiny_mask_models import CONFIGS, fisa_config, tiny_fisa

from hclip_mmseg.apis.panoptic_inferencer import PanopticInferencer
from hclip_mmseg.vocabularies import load_vocabulary


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """FISA's config of COCO panoptic with a random tiny model, and that model's checkpoint."""
    config = Config.fromfile(CONFIGS / "fisa/fisa_vitl14-336_swin-b_coco-panoptic.py")
    config.model = fisa_config()
    path = tmp_path_factory.mktemp("trained") / "tiny.pth"
    torch.save({"state_dict": tiny_fisa(seed=3).state_dict()}, path)
    return config, path


@pytest.fixture
def inferencer(trained):
    return PanopticInferencer(*trained, device="cpu")


def stuff(inferencer: PanopticInferencer) -> list[str]:
    model = inferencer.model
    return [word for word, thing in zip(model.vocabulary, model.things.tolist(), strict=True) if not thing]


def test_a_benchmarks_own_stuff_is_stuff_unless_other_words_are_given(inferencer):
    vocabulary = load_vocabulary("coco_panoptic_133")
    inferencer.set_vocabulary("coco_panoptic_133")
    categories = dict(zip(vocabulary.titles, vocabulary.categories, strict=True))
    assert [categories[word] for word in stuff(inferencer)] == list(CocoPanopticDataset.METAINFO["stuff_classes"])
    inferencer.set_vocabulary("ade20k_150")
    assert len(stuff(inferencer)) == 50 and {"sky", "grass"} < set(stuff(inferencer))
    inferencer.set_vocabulary("mapillary_panoptic_65")
    assert len(stuff(inferencer)) == 65 - 37 and "pothole" in stuff(inferencer) and "manhole" not in stuff(inferencer)
    inferencer.set_vocabulary("coco_panoptic_133", stuff="sky, pavement")
    assert stuff(inferencer) == ["sky", "pavement, sidewalk"]
    inferencer.set_vocabulary("coco_panoptic_133", stuff="")
    assert stuff(inferencer) == []


def test_stuff_is_known_by_its_title_or_its_first_synonym(inferencer):
    names = ("cat", "pavement, sidewalk", "grass , lawn", "sky")
    inferencer.set_vocabulary(names, stuff=("pavement, sidewalk", "grass"))
    assert stuff(inferencer) == ["pavement, sidewalk", "grass , lawn"]
    with pytest.raises(ValueError, match="'lawn' is given as stuff, but is none of the 4 class names"):
        inferencer.set_vocabulary(names, stuff="lawn")


def test_other_prompts_leave_stuff_as_it_is(inferencer):
    inferencer.set_vocabulary("cat, grass", stuff="grass")
    inferencer(np.zeros((8, 8, 3), np.uint8), templates="a drawing of a {}")
    assert stuff(inferencer) == ["grass"] and inferencer.model.text_encoder.templates == ("a drawing of a {}",)


@pytest.mark.parametrize("kept", ["cat", "sky"])
def test_negative_names_compete_and_have_no_segments(trained, kept):
    image = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    inferencer = PanopticInferencer(*trained, device="cpu")
    inferencer.model.results.update(object_threshold=0.0, overlap_threshold=0.0)
    names = ["cat", "grass", "sky", "dog"]
    (plain,) = inferencer(image, names)
    label = names.index(kept)
    assert {segment.label for segment in plain.segments} == {names.index("sky")}, "one of the two has segments"
    (result,) = inferencer(image, [kept], negatives=[name for name in names if name != kept])
    assert result.vocabulary == (kept,) and {segment.label for segment in result.segments} <= {0}
    of_kept = [segment.id for segment in plain.segments if segment.label == label]
    assert np.array_equal(result.ids > 0, np.isin(plain.ids, of_kept))
    assert np.array_equal(result.labels == 0, plain.labels == label)
    assert result.presence[kept] == pytest.approx(plain.presence[kept])


def test_rules_without_meaning_for_segments_are_refused(trained, inferencer):
    image = np.zeros((32, 40, 3), np.uint8)
    with pytest.raises(ValueError, match="threshold has no meaning here: segments go by"):
        inferencer.set_vocabulary("cat, grass", threshold=0.5)
    (semantic,) = PanopticInferencer(*trained, device="cpu", panoptic=False)(image, "cat, grass", threshold=1.0)
    assert (semantic.certainty <= 1).all() and (semantic.labels[semantic.certainty < 1] == 255).all()


def test_semantic_results_alone_take_any_number_of_words(trained):
    image, words = np.zeros((32, 40, 3), np.uint8), [f"word {number}" for number in range(1000)]
    with pytest.raises(ValueError, match="the vocabulary has 1000"):
        list(PanopticInferencer(*trained, device="cpu")(image, words))
    (result,) = PanopticInferencer(*trained, device="cpu", panoptic=False)(image, words)
    assert result.labels.shape == (32, 40) and result.segments == () and result.ids is None


def test_a_image_that_resizing_would_leave_nothing_of_is_named_and_the_others_are_done(inferencer):
    failed = []
    images = [np.zeros((1, 3000, 3), np.uint8), np.zeros((2, 64, 3), np.uint8)]
    done = list(inferencer(images, "cat, grass", on_error=lambda source, error: failed.append(str(error))))
    assert [result.source for result in done] == ["image 1"]
    assert failed == [
        "image 0 is 1 x 3000 pixels, so narrow that nothing is left of it where the config resizes images to at "
        "most 1333 x 800"
    ]
