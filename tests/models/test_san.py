"""MMSegmentation's own SAN, small, against the same model asked for any names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import tokenizer as mmseg_tokenizer
from tiny_san import TINY_SAN

from hclip_mmseg.apis import OpenVocabInferencer
from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.models.open_vocab_model import OpenVocabModel

NAMES = ("cat", "sofa, couch", "traffic light")
@pytest.fixture(scope="module")
def config(repository) -> Config:
    found = read_config(repository / "configs/san/san_vitb16_coco-stuff.py")
    found.merge_from_dict(dict(model=TINY_SAN))
    return found


@pytest.fixture(scope="module")
def theirs(config):
    """MMSegmentation's own classes, with random weights."""
    init_default_scope("mmseg")
    model = ConfigDict(config.model.to_dict())
    model.type = "MultimodalEncoderDecoder"
    model.text_encoder.update(type="CLIPTextEncoder", vocabulary=list(NAMES))
    torch.manual_seed(0)
    built = MODELS.build(model).eval()
    for parameter in built.parameters():
        if parameter.isnan().any() or parameter.abs().max() > 1e3 or parameter.abs().max() == 0:  # left uninitialised
            torch.nn.init.normal_(parameter, std=0.1)
    return built


@pytest.fixture
def ours(config, theirs):
    init_default_scope("mmseg")
    built = MODELS.build(config.model).eval()
    built.load_state_dict(theirs.state_dict())  # name for name
    return built


def data(size=(40, 52)):
    torch.manual_seed(1)
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size))
    return dict(inputs=[torch.randint(0, 256, (3, *size), dtype=torch.uint8)], data_samples=[sample])


def test_it_is_asked_for_names_and_gives_mmsegmentations_scores(theirs, ours):
    assert isinstance(ours, OpenVocabModel) and ours.vocabulary == ()
    with pytest.raises(ValueError, match="no class names yet"), torch.no_grad():
        ours.test_step(data())
    ours.set_vocabulary(NAMES)
    with torch.no_grad():
        (expected,), (found,) = theirs.test_step(data()), ours.test_step(data())
    torch.testing.assert_close(found.seg_logits.data, expected.seg_logits.data)  # texts are cut behind the longest
    assert found.seg_logits.data.std() > 0
    assert torch.equal(found.pred_sem_seg.data, expected.pred_sem_seg.data)
    assert found.metainfo["vocabulary"] == NAMES


def test_texts_that_are_cut_have_mmsegmentations_embeddings(theirs, ours):
    texts = mmseg_tokenizer.tokenize(["cat", "a photo of a traffic light in the fog", "sofa, couch"])
    for normalize in (False, True):
        expected = theirs.text_encoder.encode_text(texts, normalize)
        torch.testing.assert_close(ours.text_encoder.encode_text(texts, normalize), expected)


def test_names_templates_and_weights_may_change(theirs, ours):
    ours.set_vocabulary(NAMES[:2])
    with torch.no_grad():
        first = ours.text_encoder()
        assert first.shape[0] == 3
        ours.set_vocabulary(NAMES[::-1])
        assert torch.equal(ours.text_encoder()[1:3], first[[1, 0]])
        ours.set_templates(["a photo of a {}.", "a painting of a {}."])
        assert ours.templates == ("a photo of a {}.", "a painting of a {}.")
        assert not torch.allclose(ours.text_encoder()[1:3], first[[1, 0]])
        before = ours.text_encoder()
        ours.text_encoder.text_projection.add_(torch.randn_like(ours.text_encoder.text_projection))
        assert not torch.allclose(ours.text_encoder(), before)
    with pytest.raises(ValueError, match="77 places"):
        ours.set_vocabulary(["very " * 80 + "long name"])
    assert ours.vocabulary == NAMES[::-1]


def test_a_single_name_takes_every_pixel_and_scores_may_be_left_out(ours):
    ours.set_vocabulary(["cat"])
    with torch.no_grad():
        (found,) = ours.test_step(data())
        assert found.seg_logits.data.shape == (1, 40, 52) and not found.pred_sem_seg.data.any()
        sample = SegDataSample(metainfo=dict(ori_shape=(40, 52), img_shape=(40, 52), keep_scores=False))
        (found,) = ours.test_step(dict(data(), data_samples=[sample]))
    assert "seg_logits" not in found


def test_mmsegmentations_checkpoint_through_the_inferencer(config, theirs, tmp_path):
    torch.save(dict(state_dict=theirs.state_dict(), meta=dict()), tmp_path / "san.pth")
    image = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    inferencer = OpenVocabInferencer(config, tmp_path / "san.pth", device="cpu")
    assert [step.short_side for step in inferencer.resize_steps] == [640]
    (result,) = inferencer([image], ["cat", "grass"], scores=True)
    assert result.labels.shape == (24, 36) and result.scores.shape == (2, 24, 36)
    assert result.vocabulary == ("cat", "grass")


def test_the_large_model_is_mmsegmentations(repository):
    own = read_config(repository / "configs/san/san_vitl14_coco-stuff.py").model
    theirs = get_config("mmseg::san/san-vit-l14_coco-stuff164k-640x640.py").model
    for part in ("image_encoder", "decode_head"):
        expected, found = theirs[part].to_dict(), own[part].to_dict()
        assert found == expected, part
    assert own.encoder_resolution == theirs.encoder_resolution
