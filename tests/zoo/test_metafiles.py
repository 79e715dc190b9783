"""The metafiles: every row of the papers, the papers' figures, and the places that authors publish weights at."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from miniature import REPOSITORY
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.evaluation.printed_figures import printed_figures
from hclip_mmseg.zoo import find_model, read_zoo
from hclip_mmseg.zoo.listing import as_json, matching

ZOO = read_zoo()
ROWS = [model for model in ZOO if model.part is None]
OF_ONE_DATA_SET = re.compile(r"cliptrase_vitb16_\d+_|_fsdp$")  # the same row again


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.name)
def test_results_are_those_of_the_configs_row(model):
    config = read_config(REPOSITORY / model.config)
    paper = config.get("paper") or {}
    listed = {(result.dataset, metric): value for result in model.results for metric, value in result.metrics.items()}
    expected = {place: printed.figure for place, printed in printed_figures(paper).items()}
    expected |= {("OV-COCO", f"AP50 {part}"): figure for part, figure in paper.get("AP50", {}).items()}
    assert listed == expected
    clip = str(config.model.get("backbone", dict(clip=dict(pretrained=None)))["clip"]["pretrained"])
    assert (model.pretrained == "embedded") == ("demo_assets/" in clip)
    assert Path(model.config).stem == model.name


def test_every_row_of_a_paper_has_a_name():
    listed = {REPOSITORY / model.config for model in ROWS}
    others = {path for path in (REPOSITORY / "configs").glob("[!_]*/*.py") if path.parent.name != "ablation"} - listed
    assert len(others) < len(listed)
    for path in others:
        assert OF_ONE_DATA_SET.search(path.stem) or not read_config(path).get("paper"), path.name


def test_every_published_file_says_where_and_under_which_licence():
    published = {model.short_name: model.weights for model in ZOO if model.weights}
    assert {
        "cat-seg_vitb16", "cat-seg_vitl14", "maft-plus_convnext-b", "maft-plus_convnext-l",
        "maft-plus_convnext-l_panoptic", "fc-clip_convnext-l", "mask2former_r50", "mask2former_swin-t",
        "mask2former_swin-b", "san_vitb16", "san_vitl14",
    } <= set(published)  # fmt: skip
    for weights in published.values():
        assert weights.url.startswith("https://") and weights.code.startswith("https://") and weights.licence
        assert weights.file.endswith(".pth") and "/" not in weights.file
    assert len({weights.url for weights in published.values()}) == len(published)
    assert not any(model.weights for model in ZOO if model.collection in ("H-CLIP", "FISA", "CLIPtrase"))


def test_san_is_mmsegmentations():
    (folder,) = find_spec("mmseg").submodule_search_locations
    theirs = yaml.safe_load((Path(folder) / ".mim/configs/san/metafile.yaml").read_text())["Models"]
    urls = {entry["Name"]: entry["Weights"] for entry in theirs}
    for tower in ("b16", "l14"):
        model = find_model(f"san_vit{tower}")
        assert model.weights.url == urls[f"san-vit-{tower}_coco-stuff164k-640x640"] and not model.weights.converted


def test_generators_are_mmdetections_and_called_as_the_configs_look_for_them():
    (folder,) = find_spec("mmdet").submodule_search_locations
    theirs = yaml.safe_load((Path(folder) / ".mim/configs/mask2former/metafile.yml").read_text())["Models"]
    urls = {entry["Name"]: entry["Weights"] for entry in theirs}
    generators = [model for model in ZOO if model.part == "generator"]
    assert len(generators) == 3
    for model in generators:
        assert model.weights.url == urls[model.name] and not model.weights.converted
        start = read_config(REPOSITORY / model.config).model.generator.init_cfg
        assert start.checkpoint == f"pretrained/{model.weights.file}"


@pytest.mark.parametrize("name", ["hclip_vitb16", "maft-plus_convnext-b"])
def test_parameters_are_those_of_the_built_model(name):
    model = find_model(name)
    config = read_config(REPOSITORY / model.config)
    config.model.backbone.clip.pretrained = None
    init_default_scope(config.get("default_scope", "mmseg"))
    with torch.device("meta"):
        built = MODELS.build(config.model)
    assert sum(parameter.numel() for parameter in built.parameters()) == model.parameters


def test_names_aliases_and_near_names():
    assert find_model("CAT-Seg_ViTL14") == find_model("cat-seg_vitl14_coco-stuff")
    with pytest.raises(ValueError, match="no model is called 'catseg_vitl14'; did you mean 'cat-seg_vitl14") as said:
        find_model("catseg_vitl14")
    assert "\n" not in str(said.value)


def test_two_models_of_one_name_are_refused(tmp_path):
    (tmp_path / "index.yml").write_text("Import: [a.yml]\n")
    collection = dict(Name="A", Paper=dict(URL=""))
    models = [dict(Name=name, Alias=["x"], Config="", **{"In Collection": "A"}) for name in "ab"]
    (tmp_path / "a.yml").write_text(yaml.safe_dump(dict(Collections=[collection], Models=models)))
    with pytest.raises(ValueError, match="two models of the name 'x'"):
        read_zoo(tmp_path / "index.yml")


def test_the_list_is_searched_and_given_as_json(monkeypatch, tmp_path):
    monkeypatch.setenv("HCLIP_HOME", str(tmp_path))
    models = matching(["cat-seg", "L14"])
    assert [model.name for model in models] == ["cat-seg_vitl14_coco-stuff"]
    with pytest.raises(ValueError, match="no model's name holds 'catseg'; did you mean 'cat-seg.*hclip-models alone"):
        matching(["catseg"])
    (told,) = json.loads(as_json(models))
    assert told["weights"]["url"].endswith("model_large.pth") and told["needs"] == "published"
    assert told["here"] is False and told["place"] == str(tmp_path / "cat-seg_vitl14_coco-stuff/model_large.pth")
