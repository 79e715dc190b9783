"""Embeddings of a vocabulary in a file: taken as they are, by the same weights alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hclip_mmseg.apis import OpenVocabInferencer
from hclip_mmseg.vocabularies import Vocabulary

IMAGE = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
NAMES = Vocabulary(("shape, form", "grass", "sky"), members=(("circle", "star, sun"), ("grass",), ("sky",)))


@pytest.fixture(scope="module")
def config(repository):
    return repository / "configs/cliptrase/sclip_tiny_scenes.py"


@pytest.fixture(scope="module")
def saved(config, tmp_path_factory):
    """The path of a saved vocabulary, and the result of the inferencer that saved it."""
    path = tmp_path_factory.mktemp("saved") / "names.safetensors"
    inferencer = OpenVocabInferencer(config, device="cpu")
    inferencer.set_vocabulary(NAMES, "a drawing of a {}")
    inferencer.save_vocabulary(path)
    return path, next(inferencer(IMAGE, scores=True))


@pytest.fixture
def inferencer(config, monkeypatch):
    """An inferencer, and the list of how many prompts it encoded at each call."""
    found, encoded = OpenVocabInferencer(config, device="cpu"), []
    original = found.model.backbone.encode_text

    def counted(tokens, shared):
        encoded.append(len(tokens))
        return original(tokens, shared)

    monkeypatch.setattr(found.model.backbone, "encode_text", counted)
    return found, encoded


def test_names_from_a_file_are_not_encoded_again(saved, inferencer):
    (path, expected), (found, encoded) = saved, inferencer
    (result,) = found(IMAGE, path, scores=True)
    assert encoded == [] and result.vocabulary == ("shape, form", "grass", "sky")
    assert np.array_equal(result.scores, expected.scores) and np.array_equal(result.labels, expected.labels)
    assert found.model.templates == ("a drawing of a {}",)


def test_only_what_the_file_lacks_is_encoded(saved, inferencer, config):
    (path, _), (found, encoded) = saved, inferencer
    (result,) = found(IMAGE, path, background="road, sea", scores=True)
    assert encoded == [2]
    (expected,) = OpenVocabInferencer(config, device="cpu")(
        IMAGE, NAMES, "a drawing of a {}", background="road, sea", scores=True
    )
    assert np.allclose(result.scores, expected.scores, atol=1e-5)
    next(found(IMAGE, path, "a {}"))
    assert encoded == [2, 4], "other prompts are others"


def test_embeddings_of_other_weights_are_not_taken(saved, inferencer):
    (path, _), (found, encoded) = saved, inferencer
    next(found(IMAGE, path))
    with torch.no_grad():
        next(iter(found.model.backbone.text_parameters())).mul_(1.01)
    next(found(IMAGE))
    assert encoded == [4], "the weights changed after the file was read"
    with pytest.raises(ValueError, match="were computed by other weights than this model's; save them anew"):
        found(IMAGE, path)
    assert found.question.names == ("shape, form", "grass", "sky")


def test_files_that_are_none_end_in_one_line(saved, inferencer, tmp_path):
    path, (found, _) = saved[0], inferencer
    with safe_open(path, "pt") as file:
        about, embeddings = json.loads(file.metadata()["about"]), file.get_tensor("embeddings")
    broken = tmp_path / "broken.safetensors"
    for content in (
        lambda: broken.write_bytes(path.read_bytes()[:-100]),
        lambda: broken.write_text("no tensors"),
        lambda: save_file({"embeddings": embeddings}, broken),
        lambda: save_file({"embeddings": embeddings[:2]}, broken, {"about": json.dumps(about)}),
        lambda: save_file({"embeddings": embeddings}, broken, {"about": json.dumps({**about, "vocabulary": 3})}),
        lambda: save_file({"embeddings": embeddings}, broken, {"about": json.dumps({**about, "kind": "weights"})}),
    ):
        content()
        with pytest.raises(ValueError, match="is no saved vocabulary, or a truncated one"):
            found.set_vocabulary(broken)
    with pytest.raises(FileNotFoundError, match="no saved vocabulary at"):
        found.set_vocabulary("absent.safetensors")
    with pytest.raises(ValueError, match="there are no class names to be saved"):
        found.save_vocabulary(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="ends in .safetensors"):
        found.save_vocabulary(tmp_path / "a.txt")
