"""Class lists as published methods ask for them, from their own code to prompts, labels and seen classes."""

from __future__ import annotations

import open_clip
import pytest
import torch
import torch.nn.functional as F
from golden_numbers import read_json
from mmengine.config import Config
from mmseg.registry import DATASETS

from hclip_mmseg.datasets.benchmarks import BENCHMARKS
from hclip_mmseg.mask_classification.classification import SynonymTable, class_logits
from hclip_mmseg.mask_classification.maft_plus import geometric_ensemble, shares_a_name
from hclip_mmseg.models.necks import TextEncoderNeck
from hclip_mmseg.vocabularies import available_vocabularies, load_vocabulary, read_vocabulary, styled_name
from hclip_mmseg.vocabularies.styles import available_styles, lists_of

PUBLISHED = read_json("vocabulary_styles")
LISTS = [(style, name) for style, lists in PUBLISHED.items() for name in lists]
SAME_CODE = {"h-clip": "cat-seg", "maft-plus": "fc-clip", "ov-stitcher": "proxyclip", "trident": "proxyclip"}


def published(style: str, name: str) -> list[tuple[str, ...]]:
    """For every class its names, as the method's code has them."""
    entries = PUBLISHED[style][name]
    while isinstance(entries, str):
        same_name, same_style = entries.split("@")
        entries = PUBLISHED[same_style][same_name]
    return [tuple(part.strip() for part in entry.split(",")) for entry in entries]


def names_of(vocabulary) -> list[tuple[str, ...]]:
    return [tuple(part.strip() for part in title.split(",")) for title in vocabulary.titles]


@pytest.mark.parametrize(("style", "name"), LISTS)
def test_each_list_is_the_published_one(style, name):
    vocabulary, expected = load_vocabulary(f"{name}@{style}"), published(style, name)
    if style == "cliptrase" and vocabulary.background_from is not None:
        first = vocabulary.background_from
        assert names_of(vocabulary)[:first] == expected[:first]
        # a name that stands twice in the code's background changes no pixel
        assert set(names_of(vocabulary)[first:]) == set(expected[first:])
    elif style in ("sclip", "proxyclip") and vocabulary.background_from is not None:  # background is last here
        assert [names_of(vocabulary)[-1], *names_of(vocabulary)[:-1]] == expected
    else:
        assert names_of(vocabulary) == expected


def test_lists_of_the_same_code_are_the_same():
    for style, other in SAME_CODE.items():
        for name in lists_of(other):
            own, theirs = load_vocabulary(f"{name}@{style}"), load_vocabulary(f"{name}@{other}")
            assert (own.titles, own.members, own.whole) == (theirs.titles, theirs.members, theirs.whole)
    for name in lists_of("sclip"):
        own, theirs = load_vocabulary(f"{name}@clearclip"), load_vocabulary(f"{name}@sclip")
        assert (own.asked == theirs.asked) is (name != "pascal_voc_21"), name
    twenty = load_vocabulary("pascal_voc_20@fc-clip")
    assert names_of(twenty) == published("fc-clip", "pascal_voc_21")[1:], "PAS-20 is VOC21 without background"
    assert names_of(load_vocabulary("mapillary_panoptic_65@fc-clip")) == published("fc-clip", "mapillary_65")
    assert load_vocabulary("pascal_voc_20@san").titles[19] == "tv" and load_vocabulary("ade20k_847@san").whole


@pytest.mark.parametrize(
    ("style", "name", "changed"),
    [
        ("cat-seg", "pascal_context_459", 94), ("fc-clip", "ade20k_150", 120), ("fc-clip", "coco_panoptic_133", 78),
        ("fc-clip", "pascal_context_59", 50), ("fc-clip", "ade20k_847", 76), ("fc-clip", "pascal_context_459", 50),
        ("fc-clip", "cityscapes_19", 17), ("cliptrase", "pascal_voc_20", 1),
    ],
)  # fmt: skip
def test_as_many_entries_differ_as_were_counted_in_the_published_lists(style, name, changed):
    own, styled = load_vocabulary(name).titles, load_vocabulary(f"{name}@{style}").titles
    assert sum(old != new for old, new in zip(own, styled, strict=True)) == changed


def test_categories_and_things_stay_the_data_set_s():
    for name in ("coco_panoptic_133", "mapillary_panoptic_65", "ade20k_150"):
        own, styled = load_vocabulary(name), load_vocabulary(f"{name}@fc-clip")
        assert styled.things == own.things and 0 < sum(own.things) < len(own)
        assert styled.categories == (own.categories or own.names)


def test_a_style_is_known_in_any_spelling_and_an_unknown_one_is_named():
    for spelling in ("A-847@FC-CLIP", "ade20k-847@fc clip"):
        assert load_vocabulary(spelling) == read_vocabulary(spelling) == load_vocabulary("ade20k_847@fc-clip")
    assert "pascal_voc_20@sclip" in available_vocabularies() and "fc-clip" in available_styles()
    with pytest.raises(KeyError, match="ade20k_847 is there in the styles cat-seg, cliptrase, fc-clip"):
        load_vocabulary("ade20k_847@sclip")
    assert styled_name("ade20k_847", "sclip") == "ade20k_847"
    assert styled_name("ade20k_150", "sclip") == "ade20k_150@sclip"
    with pytest.raises(KeyError, match=r"no style 'fc' of class lists \(there are: cat-seg, clearclip, cliptrase"):
        styled_name("ade20k_847", "fc")


def dataset_of(benchmark: str, vocabulary: str, **settings):
    config = Config.fromfile(BENCHMARKS[benchmark].config_path).test_dataloader.dataset
    unread = dict(data_root=None, ann_file=__file__, data_prefix=dict(img_path=".", seg_map_path="."))
    return DATASETS.build({**config, **unread, "pipeline": [], "lazy_init": True, "vocabulary": vocabulary, **settings})


def test_a_data_set_asks_by_the_list_it_is_given_and_counts_its_own_classes():
    for style in ("cat-seg", "fc-clip", "cliptrase"):
        dataset = dataset_of("PC-459", f"pascal_context_459@{style}")
        assert dataset.metainfo["classes"] == load_vocabulary("pascal_context_459").titles
        assert dataset.metainfo["vocabulary"] == load_vocabulary(f"pascal_context_459@{style}").titles
        assert dataset.metainfo.get("folds") is None, "its labels are those of what is asked for: it can be trained on"
    assert dataset.metainfo["whole"] is True
    with pytest.raises(ValueError, match="has 20 classes, the vocabulary 'ade20k_150' 150"):
        dataset_of("PAS-20", "ade20k_150")
    with pytest.raises(ValueError, match="is for all 20 classes, metainfo.classes chooses 1"):
        dataset_of("PAS-20", "pascal_voc_20@san", metainfo=dict(classes=("cat",)))


def test_sclip_asks_for_every_name_by_itself_and_background_comes_first():
    metainfo = dataset_of("VOC21", "pascal_voc_21@sclip").metainfo
    expected = published("sclip", "pascal_voc_21")
    assert metainfo["vocabulary"] == tuple(name for names in expected for name in names)
    assert metainfo["folds"] == tuple(label for label, names in enumerate(expected) for _ in names)
    assert metainfo["classes"] == load_vocabulary("pascal_voc_21").classes and metainfo["classes"][0] == "background"
    plain = dataset_of("VOC21", "pascal_voc_21@clearclip").metainfo
    assert plain["vocabulary"] == tuple(PUBLISHED["clearclip"]["pascal_voc_21"]) and plain["vocabulary"][4] == "ship"
    assert plain["classes"] == metainfo["classes"]
    by_one = dataset_of("VOC21", "pascal_voc_21@fc-clip").metainfo
    assert len(by_one["vocabulary"]) == 21 and by_one["folds"] == tuple(range(21))


def prompts_of(neck: TextEncoderNeck) -> set[tuple[int, ...]]:
    """The tokens that a neck has encoded for its vocabulary, to the context's whole length."""
    encoded: list[torch.Tensor] = []

    def encode_text(tokens: torch.Tensor, shared: int) -> torch.Tensor:
        encoded.append(torch.nn.functional.pad(tokens, (0, neck.tokenizer.context_length - tokens.shape[1])))
        return torch.ones(len(tokens), 4)

    neck(encode_text, [torch.nn.Parameter(torch.zeros(1), requires_grad=False)])
    return {tuple(row) for row in torch.cat(encoded).tolist()}


def test_whole_entries_go_into_the_prompt_where_the_method_s_do():
    whole, first = (tuple(row) for row in open_clip.tokenize(
        ["A photo of a building, edifice in the scene", "A photo of a building in the scene"]
    ).tolist())  # fmt: skip
    necks = {}
    for name, prompt in (("@san", "first"), ("@h-clip", "first"), ("", "first"), ("", "whole")):
        necks[name, prompt] = neck = TextEncoderNeck(templates="scene", prompt=prompt)
        neck.set_vocabulary(load_vocabulary(f"ade20k_847{name}"))
        assert (whole in prompts_of(neck)) == (name == "@san" or prompt == "whole")
        assert (first in prompts_of(neck)) != (whole in prompts_of(neck))
    necks["@san", "first"].set_vocabulary(load_vocabulary("ade20k_847@h-clip"))
    assert first in prompts_of(necks["@san", "first"]), "the same titles, asked for in the other way"
    with pytest.raises(ValueError, match="text_encoder.prompt must be one of first, whole, not 'all'"):
        TextEncoderNeck(prompt="all")


@pytest.mark.parametrize("config", ["cliptrase/cliptrase_vitb16_224_adefull", "cliptrase/cliptrase_vitb16_336_voc20"])
def test_cliptrase_puts_whole_entries_into_prompts(repository, config):
    cfg = Config.fromfile(repository / f"configs/{config}.py")
    neck = TextEncoderNeck(**{key: value for key, value in cfg.model.text_encoder.items() if key != "type"})
    neck.set_vocabulary(("building, edifice", "tv"))
    assert tuple(open_clip.tokenize(["a bad photo of a building, edifice."])[0].tolist()) in prompts_of(neck)


def test_names_of_a_class_are_averaged_over_templates_and_then_the_best_counts():
    """As FC-CLIP's get_text_classifier and get_classification_logits, a name and a class at a time."""
    generator = torch.Generator().manual_seed(0)
    table = SynonymTable(load_vocabulary("ade20k_150@fc-clip"))
    templates = torch.randn(len(table.words), 14, 8, generator=generator)
    masks, void = torch.randn(1, 5, 8, generator=generator), torch.randn(1, 8, generator=generator)
    scale = torch.tensor(4.6)
    averaged = F.normalize(F.normalize(templates, dim=-1).mean(dim=1), dim=-1)
    found = class_logits(masks, torch.cat([averaged, void]), table, scale)[0]
    for label, names in enumerate(published("fc-clip", "ade20k_150")):
        best = torch.full((5,), -torch.inf)
        for name in names:
            unit = [row / row.norm() for row in templates[table.words.index(name)]]
            mean = sum(unit) / 14
            best = torch.maximum(best, (masks[0] / masks[0].norm(dim=-1, keepdim=True)) @ (mean / mean.norm()))
        torch.testing.assert_close(found[:, label], min(float(scale.exp()), 100) * best, rtol=0, atol=1e-4)


def test_the_ensemble_takes_for_seen_what_shares_a_name_letter_by_letter():
    trained = {name for names in published("fc-clip", "coco_panoptic_133") for name in names}
    for name in ("ade20k_150", "pascal_context_59", "cityscapes_19"):
        expected = [bool(trained & set(names)) for names in published("fc-clip", name)]
        seen = shares_a_name(
            load_vocabulary(f"{name}@fc-clip").titles, load_vocabulary("coco_panoptic_133@fc-clip").titles
        )
        assert seen.tolist() == expected and 0 < sum(expected) < len(expected)
    inner, outer = torch.randn(2, 3), torch.randn(2, 3)
    seen = shares_a_name(("sky, clouds", "Sky", "sky-other"), ("sea, clouds",))
    assert seen.tolist() == [True, False, False]
    one = geometric_ensemble(inner, outer, seen, alpha=0.0, beta=1.0)
    torch.testing.assert_close(one[:, 0], inner.log_softmax(-1)[:, 0])
    torch.testing.assert_close(one[:, 1:], outer.log_softmax(-1)[:, 1:])
