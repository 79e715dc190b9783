"""Text embeddings on disk, and sentences of their own for class names."""

from __future__ import annotations

import json
import os

import pytest
import torch
import torch.nn.functional as F
from tiny_models import randomise, tiny_backbone

from hclip_mmseg.apis.saved_vocabulary import SavedVocabulary
from hclip_mmseg.clip import tokenize
from hclip_mmseg.models import TextEncoderNeck
from hclip_mmseg.models.necks import text_encoder_neck
from hclip_mmseg.models.necks.text_cache import TextCache, digest_of

NAMES = ("cat", "baseball bat", "grass")


@pytest.fixture
def backbone():
    backbone = tiny_backbone()
    randomise(backbone.adapter)
    return backbone


@pytest.fixture(autouse=True)
def few_texts(monkeypatch):
    monkeypatch.setattr(text_encoder_neck, "LEAST_TEXTS", 2)


class Calls:
    """``encode_text`` of a backbone, with a count of its texts."""

    def __init__(self, backbone) -> None:
        self.backbone, self.count = backbone, 0

    def __call__(self, tokens, **kwargs):
        self.count += len(tokens)
        return self.backbone.encode_text(tokens, **kwargs)


def embed(backbone, folder, **changes):
    """Embeddings of a new neck, as in a new process, and whether more was encoded than the first name."""
    neck = TextEncoderNeck(NAMES, **{"cache": str(folder), "templates": "scene", **changes})
    calls = Calls(backbone)
    with torch.no_grad():
        return neck(calls, backbone.text_parameters()), calls.count > 1


def test_the_second_run_reads(backbone, tmp_path):
    first, encoded = embed(backbone, tmp_path)
    assert encoded and len(list(tmp_path.glob("*.safetensors"))) == 1
    second, encoded = embed(backbone, tmp_path)
    assert not encoded and second.equal(first)


@pytest.mark.parametrize(
    "change", ["names", "templates", "average", "adapter", "tower", "activation", "class_prompts", "off"]
)
def test_whatever_differs_is_encoded_anew(backbone, tmp_path, change):
    first, _ = embed(backbone, tmp_path, templates="vild")
    changes: dict = dict(templates="vild")
    if change == "names":
        changes["vocabulary"] = ("cat", "grass", "baseball bat")
    elif change == "templates":
        changes["templates"] = "scene"
    elif change == "average":
        changes["average"] = False
    elif change == "class_prompts":
        changes["class_prompts"] = {"cat": ["a small pet"]}
    elif change == "activation":  # no parameter
        backbone.text_tower.blocks[-1].mlp.gelu = torch.nn.ReLU()
    elif change == "off":
        changes["cache"] = False
    else:
        owner = backbone.adapter if change == "adapter" else backbone.text_tower
        with torch.no_grad():
            next(p for p in owner.parameters() if p.ndim > 1).mul_(1.5)
    names = changes.pop("vocabulary", NAMES)
    neck = TextEncoderNeck(names, **{"cache": str(tmp_path), **changes})
    calls = Calls(backbone)
    with torch.no_grad():
        found = neck(calls, backbone.text_parameters())
        expected = TextEncoderNeck(names, **{**changes, "cache": False})(calls, backbone.text_parameters())
    assert calls.count >= 2 and found.equal(expected)
    assert change == "off" or found.shape != first.shape or not found.equal(first)


def test_few_texts_and_weights_that_change_are_not_kept(backbone, tmp_path, monkeypatch):
    neck = TextEncoderNeck(NAMES, cache=str(tmp_path))
    for _ in range(3):  # as validations of a training see it
        with torch.no_grad():
            neck(backbone.encode_text, backbone.text_parameters())
            next(p for p in backbone.adapter.parameters() if p.ndim > 1).mul_(1.5)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(text_encoder_neck, "LEAST_TEXTS", 1000)
    embed(backbone, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_damaged_or_strange_file_is_encoded_over(backbone, tmp_path):
    first, _ = embed(backbone, tmp_path)
    path = next(tmp_path.iterdir())
    for content in (b"", path.read_bytes()[:-7], b"\x80\x04not tensors"):
        path.write_bytes(content)
        again, encoded = embed(backbone, tmp_path)
        assert encoded and again.equal(first)
    TextCache(tmp_path).write(path.stem, torch.zeros(2, 1, 8))  # of another number of names
    again, encoded = embed(backbone, tmp_path)
    assert encoded and again.equal(first)


def test_a_folder_that_cannot_be_written_costs_nothing(backbone, tmp_path):
    (tmp_path / "file").write_text("")
    first, encoded = embed(backbone, tmp_path / "file" / "texts")
    assert encoded and first.equal(embed(backbone, tmp_path)[0])


def test_the_files_longest_unused_go(tmp_path):
    one = torch.zeros(10, 1, 100)
    cache = TextCache(tmp_path, most_bytes=10_000)
    for age, key in ((300, "a"), (200, "b")):
        cache.write(key, one)
        stat = os.stat(tmp_path / f"{key}.safetensors")
        os.utime(tmp_path / f"{key}.safetensors", (stat.st_atime, stat.st_mtime - age))
    assert cache.read("a", (10, 1)) is not None  # now the newest
    cache.write("c", one)
    assert {path.stem for path in tmp_path.iterdir()} == {"a", "c"}
    cache.write("d", torch.zeros(100, 1, 100))
    assert {path.stem for path in tmp_path.iterdir()} == {"a", "c"}, "too large to be kept"


def test_a_digest_tells_values_shapes_and_types_apart():
    values = torch.arange(6.0)
    digests = [digest_of([x]) for x in (values, values.view(2, 3), values.double())] + [digest_of([values], 1)]
    assert len({*digests, digest_of([values + 1e-7])}) == 5
    assert digest_of([values.clone()]) == digests[0]


SENTENCES = {"baseballbat": ["a wooden stick", "a long bat of wood"], "Grass": ["green blades"], "unasked": ["x"]}


@pytest.mark.parametrize("subset", [None, [1], [2, 0]])
def test_class_prompts_are_further_templates(backbone, subset, tmp_path):
    (tmp_path / "prompts.json").write_text(json.dumps(SENTENCES))
    neck = TextEncoderNeck(NAMES, templates="vild", class_prompts=str(tmp_path / "prompts.json"), cache=False)
    of_name = {"baseball bat": SENTENCES["baseballbat"], "grass": SENTENCES["Grass"]}
    with torch.no_grad():
        found = neck(
            backbone.encode_text, backbone.text_parameters(), None if subset is None else torch.tensor(subset)
        )
        rows = []
        for name in NAMES:
            texts = [tokenize([name], (template,))[0] for template in neck.templates]
            texts += [tokenize([text], ("{}",), whole=True)[0] for text in of_name.get(name, ())]
            unit = [F.normalize(backbone.encode_text(text)[0], dim=0) for text in texts]
            rows.append(F.normalize(torch.stack(unit).mean(dim=0), dim=0)[None])
    expected = torch.stack(rows)
    torch.testing.assert_close(found, expected if subset is None else expected[subset], atol=1e-5, rtol=1e-5)


def test_gradients_go_through_class_prompts(backbone):
    neck = TextEncoderNeck(NAMES, class_prompts=SENTENCES)
    neck(backbone.encode_text, backbone.text_parameters()).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.adapter.parameters())


@pytest.mark.parametrize("wrong", ['{"cat": "one text"}', "[1, 2]", '{"cat": [1]}', "{"])
def test_wrong_class_prompts_are_named(wrong, tmp_path):
    (tmp_path / "prompts.json").write_text(wrong)
    with pytest.raises(ValueError, match="prompts.json"):
        TextEncoderNeck(NAMES, class_prompts=str(tmp_path / "prompts.json"))


def test_class_prompts_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file of sentences for classes"):
        TextEncoderNeck(NAMES, class_prompts=str(tmp_path / "missing.json"))
    with pytest.raises(ValueError, match="set average=True"):
        TextEncoderNeck(NAMES, class_prompts=SENTENCES, average=False)
    with pytest.raises(ValueError, match="takes 1[0-9][0-9] tokens"):
        TextEncoderNeck(NAMES, class_prompts={"cat": ["word " * 100]})


def test_a_saved_vocabulary_has_templates_alone():
    class Model:
        text_encoder = TextEncoderNeck(NAMES, class_prompts=SENTENCES)

        class backbone:  # noqa: N801
            text_parameters = staticmethod(list)

    with pytest.raises(ValueError, match="class_prompts=None"):
        SavedVocabulary.of(Model, None)
