"""A model written as a folder and opened again: the same answers, folded or not, from the Hub too."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from loopback import serving
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_models import randomise

from hclip_mmseg.apis import OpenVocabInferencer
from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.apis.panoptic_inferencer import PanopticInferencer

NAMES = ["cat", "sofa, couch", "sky"]


@pytest.fixture(scope="module")
def trained(tiny_config, tmp_path_factory):
    """A checkpoint of the tiny H-CLIP whose adapters turn."""
    init_default_scope("mmseg")
    torch.manual_seed(2)
    model = MODELS.build(Config.fromfile(tiny_config).model)
    randomise(model)
    path = tmp_path_factory.mktemp("trained") / "iter_9.pth"
    content = dict(state_dict=model.state_dict(), optimizer=dict(a=torch.zeros(3)), meta=dict(seed=3, iter=9))
    torch.save(content, path)
    return path


@pytest.fixture
def inferencer(tiny_config, trained):
    inferencer = OpenVocabInferencer(tiny_config, trained, device="cpu")
    inferencer.set_vocabulary(NAMES, ["a photo of a {}.", "a {} in a park."])
    return inferencer


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def scores_of(inferencer, image):
    (result,) = inferencer([image], scores=True)
    assert result.vocabulary == tuple(NAMES)
    return result.scores


@pytest.mark.parametrize("folded", [False, True])
def test_it_gives_the_same_scores_in_the_same_names(inferencer, image, tmp_path, folded):
    results = tmp_path / "results.json"
    results.write_text(json.dumps(dict(measured={"A-150": dict(metrics=dict(mIoU=31.25))}, runs=[])))
    inferencer.save_pretrained(tmp_path / "model", folded=folded, results=results)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    card = (tmp_path / "model/README.md").read_text()
    assert "| A-150 | mIoU | 31.25 |" in card and "library_name: hclip_mmseg" in card and "'cat'" in card
    opened = OpenVocabInferencer.from_pretrained(tmp_path / "model", device="cpu")
    expected = scores_of(inferencer, image)
    assert expected.std() > 0
    np.testing.assert_allclose(scores_of(opened, image), expected, rtol=0, atol=1e-4 if folded else 0)
    assert (opened.model.backbone.adapter is None) == folded
    assert opened.question.templates == ("a photo of a {}.", "a {} in a park.")
    opened.save_pretrained(tmp_path / "again")
    first, again = (safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in ("model", "again"))
    assert first.keys() == again.keys() and all(torch.equal(first[name], again[name]) for name in first)
    said = [
        json.loads((tmp_path / name / "config.json").read_text())["settings"]["model"] for name in ("model", "again")
    ]
    assert said[0] == said[1]


def test_plain_clip_is_written_as_it_answers(tiny_config, repository, image, tmp_path):
    inferencer = OpenVocabInferencer(repository / "configs/hclip/hclip_tiny_scenes.py", device="cpu")
    inferencer.set_vocabulary(NAMES)
    inferencer.save_pretrained(tmp_path / "clip")
    told = json.loads((tmp_path / "clip/config.json").read_text())
    assert "embed_dim" in told["settings"]["model"]["backbone"]["clip"]["model"]  # no file beside it is needed
    opened = OpenVocabInferencer.from_pretrained(tmp_path / "clip", device="cpu")
    assert np.array_equal(scores_of(opened, image), scores_of(inferencer, image))


def test_a_newer_form_and_other_folders_are_refused_in_one_line(inferencer, tmp_path):
    inferencer.save_pretrained(tmp_path / "model")
    path = tmp_path / "model/config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "format": 2, "versions": {"hclip-mmseg": "9.1"}}))
    with pytest.raises(ValueError, match=r"format 2, written by hclip-mmseg 9.1.*pip install -U") as newer:
        OpenVocabInferencer.from_pretrained(tmp_path / "model")
    path.write_text("{}")
    with pytest.raises(ValueError, match="no model of hclip_mmseg") as other:
        OpenVocabInferencer.from_pretrained(tmp_path / "model")
    (tmp_path / "model/model.safetensors").unlink()
    with pytest.raises(ValueError, match="lacks config.json or model.safetensors") as lacking:
        OpenVocabInferencer.from_pretrained(tmp_path / "model")
    assert all("\n" not in str(said.value) for said in (newer, other, lacking))


def test_it_is_fetched_from_the_hub(inferencer, image, tmp_path, monkeypatch):
    inferencer.save_pretrained(tmp_path / "model")
    monkeypatch.setenv("HCLIP_HOME", str(tmp_path / "home"))
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        for name in ("config.json", "model.safetensors"):
            server.files[f"/owner/tiny/resolve/main/{name}"] = (tmp_path / "model" / name).read_bytes()
        opened = OpenVocabInferencer.from_pretrained("owner/tiny", device="cpu")
        assert np.array_equal(scores_of(opened, image), scores_of(inferencer, image))
        with pytest.raises(ValueError, match="owner/nothing is no folder here, and cannot be had from the Hub") as said:
            OpenVocabInferencer.from_pretrained("owner/nothing")
        assert "\n" not in str(said.value)
    with pytest.raises(ValueError, match="there is no folder my-modle, and on the Hub models are called 'owner/name'"):
        OpenVocabInferencer.from_pretrained("my-modle")


def test_it_is_written_to_the_hub_and_comes_back(inferencer, image, tmp_path, monkeypatch):
    results = tmp_path / "results.json"
    results.write_text(json.dumps(dict(measured={"A-150": dict(metrics=dict(mIoU=31.25))}, runs=[])))
    monkeypatch.setenv("HCLIP_HOME", str(tmp_path / "home"))
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with monkeypatch.context() as writing:
            writing.setattr("huggingface_hub.constants.ENDPOINT", server.url)  # which it reads as it is imported
            options = dict(token="hf_of_tests", private=True)
            address = inferencer.push_to_hub("owner/tiny", folded=True, results=results, **options)
        assert address.startswith(f"{server.url}/owner/tiny/") and server.tokens == {"Bearer hf_of_tests"}
        written = {path.rpartition("/")[2]: content for path, content in server.files.items()}
        assert written.keys() == {"README.md", "config.json", "model.safetensors"}
        assert b"| A-150 | mIoU | 31.25 |" in written["README.md"] and json.loads(written["config.json"])["folded"]
        opened = OpenVocabInferencer.from_pretrained("owner/tiny", device="cpu")
        np.testing.assert_allclose(scores_of(opened, image), scores_of(inferencer, image), rtol=0, atol=1e-4)


def test_written_again_it_says_what_holds_now(inferencer, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    results = tmp_path / "results.json"
    for figure in (31.25, 32.5):  # the card of an older evaluation goes
        results.write_text(json.dumps(dict(measured={"A-150": dict(metrics=dict(mIoU=figure))}, runs=[])))
        inferencer.save_pretrained(first, folded=True, results=results)
    assert "32.50" in (first / "README.md").read_text() and "31.25" not in (first / "README.md").read_text()
    assert sorted(path.name for path in first.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    opened = OpenVocabInferencer.from_pretrained(first, device="cpu")
    opened.save_pretrained(again)  # its adapters are folded already
    told = [json.loads((folder / "config.json").read_text()) for folder in (first, again)]
    assert [content["folded"] for content in told] == [True, True] and told[0]["about"] == told[1]["about"] != "config"
    (again / "README.md").write_text("# My model\n")  # a card by hand stays
    opened.save_pretrained(again)
    assert (again / "README.md").read_text() == "# My model\n"


def test_stuff_stays_stuff(repository, tmp_path):
    config = repository / "configs/maft_plus/maft-plus_tiny_scenes.py"
    init_default_scope("mmdet")
    torch.save(dict(state_dict=MODELS.build(read_config(config).model).state_dict()), tmp_path / "weights.pth")
    inferencer = PanopticInferencer(config, tmp_path / "weights.pth", device="cpu")
    inferencer.set_vocabulary("cat, grass, sky", stuff="sky, grass")
    inferencer.save_pretrained(tmp_path / "model")
    opened = PanopticInferencer.from_pretrained(tmp_path / "model", device="cpu")
    assert set(opened.question.asked.stuff) == {"grass", "sky"}
    assert opened.model.things.tolist() == [True, False, False]


def test_published_checkpoints_hold_weights_alone(trained, run_here, tmp_path):
    code, out, errors = run_here("publish_checkpoint", trained, tmp_path / "out/hclip.pth")
    (written,) = (tmp_path / "out").iterdir()
    assert code == 0 and out.strip() == str(written), errors
    assert written.name == f"hclip-{hashlib.sha256(written.read_bytes()).hexdigest()[:8]}.pth"
    content, before = torch.load(written), torch.load(trained)
    assert content.keys() == {"meta", "state_dict"} and content["meta"] == {}
    assert all(torch.equal(content["state_dict"][name], value) for name, value in before["state_dict"].items())
