"""What every system promises: the contracts of hclip_mmseg/models, over a tiny model of each."""

from __future__ import annotations

import pickle

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_detectors import tiny_detector
from tiny_maft_plus import tiny_maft_plus
from tiny_mask_models import tiny_fisa
from tiny_models import HEAD, clip_geometry, tiny_backbone, tiny_segmentor
from training_free.tiny_training_free import PIXELS, REGIONS, tiny_backbone_config, tiny_training_free

from hclip_mmseg.benchmarks.command import check_takes_names
from hclip_mmseg.models import CLIPBackbone, CosineHead, CostAggregationHead, OpenVocabDecodeHead, OpenVocabModel
from hclip_mmseg.models.equal_sizes import of_equal_sizes
from hclip_mmseg.models.features import DenseFeatures, HeadInputs
from hclip_mmseg.vocabularies import as_vocabulary

NAMES = ("cat", "dog, puppy", "grass")
SIZES = ((64, 96), (64, 96), (96, 64))


def unsupervised() -> OpenVocabModel:
    init_default_scope("mmseg")
    settings = dict(backbone=tiny_backbone_config(), regions=REGIONS, clusters=3, data_preprocessor=PIXELS)
    return MODELS.build(dict(type="UnsupervisedSegmentor", **settings))


ASKED = dict(
    segmentor=tiny_segmentor,
    training_free=tiny_training_free,
    fisa=tiny_fisa,
    maft_plus=tiny_maft_plus,
    detector=tiny_detector,
)
CAN = dict(  # training_free, takes_names, gives_label_maps, gives_panoptic
    segmentor=(False, True, True, False),
    training_free=(True, True, True, False),
    fisa=(False, True, True, True),
    maft_plus=(False, True, True, True),
    detector=(False, True, False, False),
    unsupervised=(True, False, True, False),
)


@pytest.fixture(scope="module", params=CAN)
def system(request):
    return request.param, {**ASKED, "unsupervised": unsupervised}[request.param]()


@pytest.fixture(scope="module", params=ASKED)
def asked(request):
    return ASKED[request.param]()


def test_what_a_model_can_do_is_said_by_its_class(system):
    name, model = system
    kind = type(model)
    assert issubclass(kind, OpenVocabModel)
    assert (kind.training_free, kind.takes_names, kind.gives_label_maps, kind.gives_panoptic) == CAN[name]
    if kind.takes_names and kind.gives_label_maps:
        check_takes_names(model)
    else:
        with pytest.raises(ValueError, match=kind.__name__):
            check_takes_names(model)


def test_clusters_are_asked_for_nothing():
    for ask in (lambda model: model.set_vocabulary(NAMES), lambda model: model.set_templates("vild")):
        with pytest.raises(ValueError, match="clusters, not words"):
            ask(unsupervised())


def test_a_list_and_a_vocabulary_ask_for_the_same(asked):
    asked.set_vocabulary(list(NAMES), "a photo of a {}.")
    assert asked.vocabulary == NAMES and asked.templates == ("a photo of a {}.",)
    asked.set_vocabulary(("sky",))
    assert asked.vocabulary == ("sky",)
    asked.set_vocabulary(as_vocabulary(NAMES))
    assert asked.vocabulary == NAMES and asked.templates == ("a photo of a {}.",)
    asked.set_templates("a drawing of a {}.")
    assert asked.vocabulary == NAMES and asked.templates == ("a drawing of a {}.",)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("cat, cat", "'cat' is given 2 times"),
        ("absent.json", "no file of class names"),
        ((), "no class names given"),
        (("cat", " "), "class name 1 of 2 is empty"),
        (("cat", ","), "class name 1 .* holds no word"),
        (("cat", "very " * 90 + "long dog"), "tokens"),
    ],
)
def test_names_that_are_no_vocabulary_change_nothing(asked, names, said):
    asked.set_vocabulary(NAMES)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        asked.set_vocabulary(names)
    assert asked.vocabulary == NAMES


def test_every_model_takes_names_in_every_form(asked, tmp_path):
    listed = tmp_path / "own.json"
    listed.write_text('{"cat": [], "dog": ["puppy"], "grass": []}', encoding="utf-8")
    for names in (listed, str(listed), {0: "cat", 1: "dog, puppy", 2: "grass"}, [["cat"], ["dog", "puppy"], ["grass"]]):
        asked.set_vocabulary(("sky",))
        asked.set_vocabulary(names)
        assert asked.vocabulary == NAMES
    asked.set_vocabulary("cat, dog")
    assert asked.vocabulary == ("cat", "dog")


def test_stuff_reaches_the_models_that_tell_it_from_things(asked):
    asked.set_vocabulary(as_vocabulary(NAMES).with_stuff(("dog",)))
    assert asked.vocabulary == NAMES
    if type(asked).gives_panoptic:
        asked.set_templates("vild")
        assert asked.things.tolist() == [True, False, True]
        asked.set_vocabulary(NAMES)
        assert asked.things.tolist() == [True, True, True]


def test_every_backbone_encodes_texts_with_the_parameters_that_it_names(asked):
    backbone = asked.backbone
    assert isinstance(backbone, CLIPBackbone) and backbone.logit_scale.numel() == 1
    tokens = torch.tensor([[49406, 320, 49407, 0], [49406, 530, 518, 49407]])
    assert backbone.encode_text(tokens).shape == (2, backbone.embed_dim)
    named = backbone.text_parameters()
    for parameter in backbone.parameters():
        parameter.requires_grad_(True)
    backbone.encode_text(tokens).square().sum().backward()
    used = [parameter for parameter in backbone.parameters() if parameter.grad is not None]
    assert used and {id(parameter) for parameter in used} <= {id(parameter) for parameter in named}


def test_features_are_a_flat_tuple_with_dense_tokens_last():
    backbone = tiny_backbone(clip=dict(model=clip_geometry()), adapter=None, out_layers=(1,))
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, 64, 64))
    assert isinstance(features, DenseFeatures) and len(features) == 4
    assert [id(x) for x in features] == [id(x) for x in (*features.guidance, *features.blocks, features.dense)]
    head = FCNHead(in_channels=32, channels=4, num_classes=2, in_index=-1, num_convs=1, norm_cfg=None)
    assert head(features).shape == (1, 2, 8, 8)
    head = FCNHead(in_channels=48, channels=4, num_classes=2, in_index=2, num_convs=1, norm_cfg=None)
    assert head(features).shape == (1, 2, 8, 8)


@pytest.fixture(params=["CosineHead", "CostAggregationHead"])
def head(request):
    torch.manual_seed(0)
    if request.param == "CosineHead":
        return CosineHead(text_channels=32)
    return CostAggregationHead(**{key: value for key, value in HEAD.items() if key != "type"})


def head_inputs(names: int = 5) -> HeadInputs:
    return HeadInputs(
        torch.randn(2, 32, 8, 8), [torch.randn(2, 16, 16, 16), torch.randn(2, 8, 32, 32)], torch.randn(names, 1, 32)
    )


@torch.no_grad()
def test_heads_score_all_names_of_named_or_plain_tuples(head):
    inputs = head_inputs()
    assert isinstance(head, OpenVocabDecodeHead)
    logits, kept = head.most_similar(inputs)
    assert kept is None and logits.shape[:2] == (2, 5)
    torch.testing.assert_close(head(inputs), logits)
    torch.testing.assert_close(head(tuple(inputs)), logits)


def test_a_head_needs_only_to_say_how_names_are_scored():
    class FirstTwo(OpenVocabDecodeHead):
        def most_similar(self, inputs):
            dense, text = HeadInputs.of(inputs).dense, HeadInputs.of(inputs).text
            logits = torch.einsum("bchw,tc->bthw", dense, text[:2].mean(dim=1))
            return logits, torch.tensor([[0, 1]] * len(dense))

    head = FirstTwo(32, dict(type="AllClassesBCELoss"))
    logits = head(head_inputs(4))
    assert logits.shape == (2, 4, 8, 8) and (logits[:, 2:] == -100).all() and (logits[:, :2] != -100).all()


def test_the_heads_arguments_may_stand_apart_or_in_aggregator():
    flat = {key: value for key, value in HEAD.items() if key != "type"}
    own = dict(text_channels=flat.pop("text_channels"))
    heads = []
    for settings in (dict(own, **flat), dict(own, aggregator=flat)):
        torch.manual_seed(0)
        heads.append(CostAggregationHead(**settings))
    one, other = (head.state_dict() for head in heads)
    assert list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(ValueError, match="dim of the head's aggregator is given twice"):
        CostAggregationHead(**own, aggregator=flat, dim=16)
    with pytest.raises(TypeError, match="dimension"):
        CostAggregationHead(**own, dimension=16)


def test_a_vocabulary_is_pickled_and_compared_by_its_content():
    vocabulary = as_vocabulary(NAMES).with_stuff(("grass",))
    assert vocabulary.things == (True, True, False) and vocabulary.synonyms[1] == ("dog", "puppy")
    again = pickle.loads(pickle.dumps(vocabulary))
    assert again == vocabulary != as_vocabulary(NAMES) and hash(again) == hash(vocabulary)


def batch_of(images: list[torch.Tensor], kind: type) -> dict:
    samples = []
    for image in images:
        shape = tuple(image.shape[1:])
        meta = dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0), img_path="image.png")
        samples.append(kind(metainfo=meta))
    return dict(inputs=images, data_samples=samples)


def found(sample) -> list[torch.Tensor]:
    if "pred_sem_seg" in sample:
        return [getattr(sample.pred_sem_seg, "data" if isinstance(sample, SegDataSample) else "sem_seg")]
    return [sample.pred_instances.bboxes, sample.pred_instances.scores, sample.pred_instances.labels]


@torch.no_grad()
@pytest.mark.parametrize("step", ["test_step", "val_step"])
def test_images_of_several_sizes_in_a_batch_are_answered_as_one_by_one(system, step):
    name, model = system
    if CAN[name][1]:
        model.set_vocabulary(NAMES)
    else:
        model.centres.copy_(torch.randn(model.centres.shape, generator=torch.Generator().manual_seed(1)))
    model.eval()
    kind = SegDataSample if name in ("segmentor", "training_free", "unsupervised") else DetDataSample
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in SIZES]
    together = getattr(model, step)(batch_of(images, kind))
    assert len(together) == len(SIZES)
    for image, result in zip(images, together, strict=True):
        alone = getattr(model, step)(batch_of([image], kind))[0]
        for ours, expected in zip(found(result), found(alone), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_a_batch_is_taken_apart_only_where_sizes_differ():
    images = [torch.zeros(3, *size) for size in SIZES]
    data = dict(inputs=images, data_samples=["a", "b", "c"])
    parts = of_equal_sizes(data)
    assert [part["data_samples"] for part in parts] == [["a", "b"], ["c"]]
    assert [len(part["inputs"]) for part in parts] == [2, 1]
    assert of_equal_sizes(dict(inputs=images, data_samples=None))[1]["data_samples"] is None
    for same in (dict(inputs=images[:2]), dict(inputs=torch.zeros(2, 3, 4, 4)), images):
        assert of_equal_sizes(same) == [same]
