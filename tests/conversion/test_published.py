"""Published checkpoints to this project's and back, tensor by tensor."""

from __future__ import annotations

import pytest
import torch
from golden_numbers import draw_segmentor_value, draw_state
from mmengine import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_models import backbone_config, clip_geometry, pop_config, randomise, tiny_segmentor

from hclip_mmseg.clip import build_clip
from hclip_mmseg.conversion import recognise, to_ours, to_published

PREDICTOR = "sem_seg_head.predictor."
ADAPTER = "attn_q_proj_oft_"


@pytest.fixture(scope="module")
def draw():
    """Published checkpoints of tests/golden; tensors that a checkpoint lists again are drawn once."""
    drawn: dict[str, torch.Tensor] = {}

    def value(name, shape):
        key = name.split(ADAPTER)[1] if ADAPTER in name else name
        if key not in drawn:
            drawn[key] = draw_segmentor_value(name, shape)
        return drawn[key]

    return lambda file: draw_state(file, value)


def build(config):
    init_default_scope("mmseg")
    config = Config.fromfile(config).model
    config.backbone.clip.pretrained = None
    with torch.device("meta"):  # shapes are all that is compared
        return MODELS.build(config)


def assert_equal_states(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


@pytest.mark.parametrize(
    "file, config, kind",
    [
        ("h-clip", "configs/hclip/hclip_vitb16_coco-stuff.py", "h-clip"),
        ("cat-seg", "configs/cat_seg/cat-seg_vitb16_coco-stuff.py", "cat-seg"),
    ],
)
def test_there_and_back(draw, repository, file, config, kind):
    published = draw(file)
    assert recognise(published) == kind
    ours = to_ours({"model": published})
    model = build(repository / config)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert {name: value.shape for name, value in ours["state_dict"].items()} == shapes
    assert_equal_states(to_published(ours)["model"], published)


def test_every_slice_is_where_the_adapters_read_it(draw):
    """The published loops: layer l, rows 4 l to 4 l + 3, its own matrix over the columns."""
    published = draw("h-clip")
    ours = to_ours(published)["state_dict"]
    prefix = PREDICTOR + "clip_model.transformer.resblocks.5." + ADAPTER
    assert torch.equal(ours["backbone.adapter.tensor"], published[prefix + "layer_R"])
    columns = ours["backbone.adapter.relation.columns"]
    assert columns.shape == (12, 10, 10)
    for layer in range(12):
        assert torch.equal(columns[layer], published[f"{prefix}relation_m_R.{layer}.weight"])
    assert torch.equal(ours["backbone.adapter.relation.layers"], published[prefix + "relation_l_R.weight"])


# ---- small checkpoints, made from a tiny model of ours


@pytest.fixture(params=["h-clip", "cat-seg"])
def tiny_published(request):
    adapter = pop_config() if request.param == "h-clip" else dict(type="TrainedProjections")
    model = tiny_segmentor(backbone=backbone_config(adapter=adapter))
    randomise(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    return request.param, model, to_published({"state_dict": state})["model"]


def test_what_was_trained_here_goes_out_and_comes_back(tiny_published):
    kind, model, published = tiny_published
    assert recognise(published) == kind
    ours = to_ours({"model": published})["state_dict"]
    images = torch.randn(1, 3, 64, 64)
    model.set_vocabulary(["cat", "grass"])
    with torch.no_grad():
        before = model.encode_decode(images, [{}])
        randomise(model)
        assert not torch.allclose(model.encode_decode(images, [{}]), before, atol=1e-3)
        missing, unexpected = model.load_state_dict(ours, strict=False)
        assert not missing and not unexpected
        torch.testing.assert_close(model.encode_decode(images, [{}]), before, rtol=0, atol=1e-5)
    assert_equal_states(to_published(to_ours(published))["model"], published)


def test_names_of_parallel_training_are_understood(tiny_published):
    _, _, published = tiny_published
    expected = to_ours(published)["state_dict"]
    assert_equal_states(
        to_ours({"state_dict": {f"module.{name}": value for name, value in published.items()}})["state_dict"], expected
    )


def test_lists_that_disagree_are_refused():
    published = to_published({"state_dict": tiny_segmentor().state_dict()})["model"]
    name = PREDICTOR + f"clip_model.transformer.resblocks.2.{ADAPTER}layer_R"
    published[name] = published[name] + 1e-3
    with pytest.raises(ValueError, match=r"attn_q_proj_oft_layer_R with different values: .*resblocks\.2"):
        to_ours(published)


def test_a_checkpoint_without_its_relations_is_refused():
    published = to_published({"state_dict": tiny_segmentor().state_dict()})["model"]
    lacking = {name: value for name, value in published.items() if "relation_l_R" not in name}
    with pytest.raises(ValueError, match="the H-CLIP checkpoint lacks attn_q_proj_oft_relation_l_R.weight"):
        to_ours(lacking)


def test_other_checkpoints_are_refused():
    with pytest.raises(ValueError, match="no checkpoint of CAT-Seg, .* or CLIP.*its first parameters are conv1"):
        to_ours({"model": {"conv1.weight": torch.zeros(1)}})
    published = to_published({"state_dict": tiny_segmentor().state_dict()})["model"]
    published[PREDICTOR + "transformer.extra.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"1 parameters of the h-clip checkpoint have names .*extra\.weight"):
        to_ours(published)


def test_what_was_never_published_has_no_published_names():
    model = tiny_segmentor(backbone=backbone_config(adapter=pop_config("mlp")))
    with pytest.raises(ValueError, match="only H-CLIP with the linear relation was published"):
        to_published({"state_dict": model.state_dict(), "meta": {"published": {"kind": "h-clip"}}})
    with pytest.raises(ValueError, match="backbone.new.weight has no counterpart"):
        to_published({"state_dict": {**tiny_segmentor().state_dict(), "backbone.new.weight": torch.zeros(1)}})


@pytest.mark.parametrize(
    "adapter",
    [dict(type="LoRA", rank=2), dict(type="VPT", length=2), dict(type="TrainedProjections", projections=("q", "out"))],
)
def test_adapters_that_were_never_published_are_not_thrown_away(adapter):
    model = tiny_segmentor(backbone=backbone_config(adapter=adapter))
    with pytest.raises(ValueError, match=r"backbone\.adapter\..* has no counterpart .*tools/fold_adapters\.py"):
        to_published({"state_dict": model.state_dict()})


@pytest.mark.parametrize(
    "settings",
    [
        dict(orthogonal=()),
        dict(orthogonal=("image", "text")),
        dict(relate="R"),
        dict(sides=dict(out="input")),
    ],
    ids=str,
)
def test_blocks_that_the_published_code_would_read_otherwise_are_refused(settings):
    """Settings that do not show in the names and shapes of the numbers."""
    model = tiny_segmentor(backbone=backbone_config(adapter={**pop_config(), **settings}))
    config = Config(dict(model=dict(backbone=dict(adapter={**pop_config(), **settings}))))
    with pytest.raises(ValueError, match=rf"trained with {next(iter(settings))}=.* tools/fold_adapters.py"):
        to_published({"state_dict": model.state_dict(), "meta": {"cfg": config.pretty_text}})
    config.model.backbone.adapter = dict(pop_config(), relate="X", sides=None)
    assert recognise(to_published({"state_dict": model.state_dict(), "meta": {"cfg": config.pretty_text}})["model"])


def test_clip_alone():
    clip = build_clip(clip_geometry()).state_dict()
    assert recognise(clip) == "clip"
    ours = to_ours({**clip, "input_resolution": torch.tensor(64)})
    model = tiny_segmentor()
    _, unexpected = model.load_state_dict(ours["state_dict"], strict=False)
    assert not unexpected
    assert torch.equal(model.backbone.image_tower.proj, clip["visual.proj"])
    back = to_published(ours)
    assert back.keys() == clip.keys()
    assert all(torch.equal(back[name], value) for name, value in clip.items())
