"""Class lists and the names that people give."""

from functools import partial

import pytest
import torch
from golden_numbers import read_json
from mmseg.datasets import COCOStuffDataset

from hclip_mmseg.datasets.benchmarks import BENCHMARKS
from hclip_mmseg.vocabularies import (
    as_vocabulary,
    available_vocabularies,
    check_names,
    load_vocabulary,
    read_names,
    read_vocabulary,
)
from hclip_mmseg.vocabularies.aliases import canonical_name
from hclip_mmseg.vocabularies.labels import check_labels

SIZES = {
    "ade20k_150": 150,
    "ade20k_847": 847,
    "coco_object_80": 80,
    "coco_stuff_171": 171,
    "pascal_context_459": 459,
    "pascal_context_59": 59,
    "pascal_voc_20": 20,
    "pascal_voc_20b": 59,
}
FOLDED = {"coco_27": 27, "coco_object_81": 187, "pascal_context_60": 60, "pascal_voc_21": 52}
OTHERS = {"cityscapes_19": 19, "cityscapes_27": 27, "mapillary_65": 65}
OV_COCO = {"ov_coco_17": 17, "ov_coco_48": 48, "ov_coco_65": 65}


def test_every_benchmark_is_there():
    sizes = {name: len(load_vocabulary(name)) for name in available_vocabularies()}
    assert sizes.items() >= {**SIZES, **FOLDED, **OTHERS, **OV_COCO}.items()


@pytest.mark.parametrize("name", SIZES)
def test_lists_are_the_published_ones(name):
    published = read_json("vocabularies")[name]
    vocabulary = load_vocabulary(name)
    assert [list(names) for names in vocabulary.synonyms] == published["classes"]
    assert vocabulary.background_from == published.get("background_from")


@pytest.mark.parametrize(
    ("name", "objects", "prompts"),
    [
        ("coco_object_81", "coco_object_80", "coco_object"),
        ("pascal_voc_21", "pascal_voc_20", "pascal_voc_21"),
        ("pascal_context_60", "pascal_context_59", "pascal_context_60"),
    ],
)
def test_background_is_the_published_names(name, objects, prompts):
    published = read_json("cliptrase_background_prompts")[prompts]
    vocabulary, objects = load_vocabulary(name), load_vocabulary(objects).names
    assert vocabulary.asked[: len(objects)] == objects
    assert set(vocabulary.asked[len(objects) :]) == set(published)
    assert vocabulary.classes == ("background", *objects)
    for asked, fold in zip(vocabulary.asked, vocabulary.folds, strict=True):
        assert vocabulary.classes[fold] == (asked if asked in objects else "background")


def test_coco_27_is_made_of_every_class_of_coco_stuff():
    vocabulary = load_vocabulary("coco_27")
    assert sorted(vocabulary.asked) == sorted(load_vocabulary("coco_stuff_171").names)
    assert len(vocabulary.folds) == 171 and set(vocabulary.folds) == set(range(27))
    counted_as = {name: vocabulary.classes[fold] for name, fold in zip(vocabulary.asked, vocabulary.folds, strict=True)}
    assert counted_as["zebra"] == "animal" and counted_as["wall-brick"] == "wall" and counted_as["sea"] == "water"
    assert counted_as["pizza"] == "food" and counted_as["salad"] == "food-stuff"


def test_titles_tell_classes_of_one_name_apart():
    vocabulary = load_vocabulary("ade20k_847")
    assert vocabulary.names.count("bag") == 3
    assert len(set(vocabulary.titles)) == 847 == len(check_names(vocabulary.titles))
    assert read_names("ade20k_847")[191] == "bag, traveling bag, travelling bag, grip, suitcase"


def test_ov_coco_is_the_published_split():
    published = read_json("ov_coco_split")
    base, novel, both = (load_vocabulary(name).names for name in ("ov_coco_48", "ov_coco_17", "ov_coco_65"))
    assert list(base) == published["base"] and set(novel) == set(published["novel"])
    assert both == tuple(name for name in load_vocabulary("coco_object_80").names if name in base + novel)


def test_coco_stuff_has_mmseg_label_order():
    assert load_vocabulary("coco_stuff_171").names == COCOStuffDataset.METAINFO["classes"]


def test_coco_objects_come_first_in_coco_stuff():
    assert load_vocabulary("coco_stuff_171").names[:80] == load_vocabulary("coco_object_80").names


def test_an_unknown_vocabulary_is_answered_with_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'ade20k_150'.*coco_stuff_171"):
        load_vocabulary("ade20k150")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no class names"),
        (("cat", "  "), "class name 1 of 2 is empty"),
        (("cat", "dog", " cat"), r"'cat' is given 2 times, at \[0, 2\]"),
        (("cat", 3), "class name 1 is 3 of type int"),
        ("cat", "not the one string 'cat'"),
    ],
)
def test_bad_names_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        check_names(names)


def test_repeats_can_be_allowed():
    assert check_names(["bag", "bag "], repeats=True) == ("bag", "bag")


def test_names_from_a_text():
    assert read_names(" cat, grass,traffic light ") == ("cat", "grass", "traffic light")
    assert read_names("cat") == ("cat",)
    assert read_names("cat\ngrass, sky\r\n\ntraffic\t light\n") == ("cat", "grass", "sky", "traffic light")
    assert read_names(", ".join(f"thing number {i}" for i in range(2000)))[1999] == "thing number 1999"


def test_names_of_a_benchmark():
    assert read_names("pascal_voc_20") == load_vocabulary("pascal_voc_20").names


@pytest.mark.parametrize(("text", "message"), [("", "no class names"), ("cat,,dog", "1 of 3 is empty")])
def test_bad_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read_names(text)


def test_names_from_a_file(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("# animals\ncat, house cat\n\ntraffic light\n")
    assert read_names(str(path)) == read_names(path) == ("cat, house cat", "traffic light")
    assert read_vocabulary(path).names == ("cat", "traffic light")


def test_a_bad_file_of_names_is_named(tmp_path):
    path = tmp_path / "names.txt"
    with pytest.raises(FileNotFoundError, match=r"no file of class names at .*names\.txt"):
        read_names(str(path))
    path.write_text("cat, grass, traffic light\n")
    with pytest.raises(ValueError, match=r"names\.txt .*: one line with commas: .* a line of its own"):
        read_names(path)
    for name in ("names.csv", "my names.lst"):
        with pytest.raises(FileNotFoundError, match=f"no file of class names at .*{name}"):
            read_names(str(tmp_path / name))
    path.write_text("cat\ndog\ncat\n")
    with pytest.raises(ValueError, match=r"names\.txt: class name 'cat' is given 2 times"):
        read_names(path)
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="UTF-8"):
        read_names(path)


@pytest.mark.parametrize("spelling", ["A-847", "a-847", "ade20k-847", "ADE20K_847", "ade20k_847"])
def test_a_benchmark_is_known_in_any_of_its_spellings(spelling):
    assert load_vocabulary(spelling) == read_vocabulary(spelling) == load_vocabulary("ade20k_847")
    assert load_vocabulary(spelling).name == "ade20k_847"


def test_every_benchmark_of_the_tables_has_its_list_under_its_own_name():
    assert {name: canonical_name(name) for name in BENCHMARKS} == {
        name: benchmark.vocabulary for name, benchmark in BENCHMARKS.items()
    }
    assert all(canonical_name(name) == name for name in available_vocabularies())


def test_a_vocabulary_is_read_from_whatever_a_person_gives(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("cat\ndog, puppy\n", encoding="utf-8")
    assert read_vocabulary(path).names == ("cat", "dog") and read_vocabulary(path).source == str(path)
    for given in (["cat", "dog, puppy"], ("cat", "dog, puppy")):
        assert read_vocabulary(given).synonyms == (("cat",), ("dog", "puppy"))
        assert read_vocabulary(read_vocabulary(given)) == read_vocabulary(given)
    assert read_vocabulary("cat, dog").names == ("cat", "dog")
    with pytest.raises(ValueError, match="'cat' is given 2 times"):
        read_vocabulary(["cat", "cat"])
    assert read_vocabulary(["cat", "cat"], repeats=True).titles == ("cat", "cat")


def test_stuff_is_meant_by_its_title_before_its_first_name():
    vocabulary = as_vocabulary(["table", "table, desk", "sky , air"])
    assert vocabulary.things == (True, True, True)
    assert vocabulary.with_stuff(["table"]).things == (False, True, True)
    assert vocabulary.with_stuff(["sky"]).things == (True, True, False)
    with pytest.raises(ValueError, match="'air' is given as stuff, but is none of the 3 class names"):
        vocabulary.with_stuff(["air"])


@pytest.mark.parametrize(("labels", "ignored", "wrong"), [([0, 2, 255], 255, None), ([0, 3], 255, 3), ([-1], 255, -1),
                                                          ([0, 255], None, 255), ([], None, None)])  # fmt: skip
def test_labels_outside_a_vocabulary_are_named_with_their_file(labels, ignored, wrong):
    check = partial(check_labels, torch.tensor(labels, dtype=torch.long), 3, ignore_index=ignored)
    if wrong is None:
        return check({})
    with pytest.raises(ValueError, match=rf"label {wrong} in maps/1.png is outside the vocabulary of 3 names"):
        check(dict(seg_map_path="maps/1.png", img_path="images/1.jpg"))
    with pytest.raises(ValueError, match=rf"label {wrong} in images/1.jpg is outside"):
        check(dict(img_path="images/1.jpg"))


@pytest.mark.parametrize(
    "names, said",
    [
        (("Cat", "cat"), "class names 'Cat' and 'cat' are the same to CLIP"),
        (("cat", "\uff43at"), "are the same to CLIP, which reads 'cat' in both"),
        (("\u00e9t\u00e9", "e\u0301te\u0301"), "are the same to CLIP"),
        (("dog", "ca\u200bt"), r"class name 1 holds the invisible character \\u200b"),
        (("ca\x1bt",), r"class name 0 holds the invisible character \\x1b"),
        (("caf\udcff",), r"class name 0 holds the invisible character \\udcff"),
    ],
)
def test_names_that_clip_or_a_reader_cannot_tell_apart_are_refused(names, said):
    with pytest.raises(ValueError, match=said):
        check_names(names)
