"""The segmentor of FISA: what it trains, what it predicts, what it refuses."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.structures import PixelData
from tiny_mask_models import NAMES, THINGS, fisa_config, samples, tiny_fisa

from hclip_mmseg.mask_classification.fisa import FISA
from hclip_mmseg.vocabularies import as_vocabulary


def random_images(batch: int = 2, height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def step(model: FISA, images: torch.Tensor, **kwargs) -> dict[str, torch.Tensor]:
    losses = model.train().loss(images, samples(images, **kwargs))
    sum(losses.values()).backward()
    return losses


OWN = ("backbone.mask_tokens.seve.", "backbone.mask_tokens.queries.", "backbone.distribution_adapter.", "classes.void")


@pytest.mark.parametrize("generator", [False, True], ids=["fisa", "generator too"])
def test_a_step_moves_the_named_parameters_and_leaves_all_else_byte_for_byte(generator):
    model = tiny_fisa(train_generator=generator)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(2):
        optimizer.zero_grad()
        step(model, random_images())
        reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    expected = {name for name in before if name.startswith(OWN)}
    proposals = {name for name in reached | moved if name.startswith("generator.")}
    assert reached - proposals == expected == moved - proposals
    assert bool(proposals) == generator and not any(".cls_embed." in name for name in proposals)
    for name in before:
        if name.startswith(("backbone.mask_tokens.tower.", "backbone.text_tower.", "backbone.logit_scale")):
            assert before[name].numpy().tobytes() == model.state_dict()[name].numpy().tobytes()


def test_losses_are_matched_pairs_with_their_weights():
    """Hungarian matching by brute force, of masks that are the same everywhere, as sampled points may lie anywhere."""
    model = tiny_fisa()
    images = random_images(1)
    data = samples(images)
    with torch.no_grad():
        logits, _ = model._forward(images, data)
    target = model.targets(data)[0]
    assert target.labels.tolist() == [0, 1, 2, 3]
    levels = torch.linspace(-2, 2, 6)
    side = 512  # points at the border see part of what lies outside
    target.masks = torch.ones(4, side, side)
    model.criterion.importance_sample_ratio = 0.0
    found = model.criterion(logits, levels[None, :, None, None].expand(1, 6, side, side), [target], [{}])

    probability = logits[0].softmax(-1)

    def cost(q, t):
        bce = F.softplus(-levels[q])
        dice = 1 - (2 * levels[q].sigmoid() * 64 + 1) / (64 * levels[q].sigmoid() + 64 + 1)
        return float(-2 * probability[q, target.labels[t]] + 5 * bce + 5 * dice)

    best = min(permutations(range(6), 4), key=lambda chosen: sum(cost(q, t) for t, q in enumerate(chosen)))
    classes = torch.full((6,), len(NAMES))
    for t, q in enumerate(best):
        classes[q] = target.labels[t]
    weights = torch.tensor([1.0] * len(NAMES) + [0.1])
    expected = 2 * F.cross_entropy(logits[0], classes, weights)
    assert float(found["loss_cls"]) == pytest.approx(float(expected), rel=1e-4)
    bce = 5 * sum(float(F.softplus(-levels[q])) for q in best) / 4
    assert float(found["loss_mask"]) == pytest.approx(bce, rel=1e-2)
    dice = 0.0
    for q in best:
        p = float(levels[q].sigmoid())
        dice += 1 - (2 * p * 64 + 1) / (64 * p + 64 + 1)
    assert float(found["loss_dice"]) == pytest.approx(5 * dice / 4, rel=1e-2)


def test_mixed_precision_gives_nearly_the_same_losses():
    model = tiny_fisa(train_generator=True)
    images = random_images()
    found = []
    for mixed in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            found.append(step(model, images))
    for name, value in found[0].items():
        assert float(found[1][name].detach()) == pytest.approx(float(value.detach()), rel=0.1), name


def test_an_image_without_targets_trains_void_alone():
    model = tiny_fisa()
    losses = step(model, random_images(1), empty=True)
    assert losses["loss_mask"] == losses["loss_dice"] == 0 and math.isfinite(float(losses["loss_cls"]))
    assert model.classes.void.grad.abs().sum() > 0


def test_results_have_the_size_of_the_image_and_carry_the_words():
    model = tiny_fisa()
    model.results.update(instance=True, object_threshold=0.0, score_memory=10**9)
    images = random_images(1, 64, 96)
    sample = samples(images)[0]
    sample.set_metainfo(dict(img_shape=(48, 80), ori_shape=(100, 150)))
    with torch.no_grad():
        found = model.predict(images, [sample])[0]
    assert found.pred_sem_seg.sem_seg.shape == (1, 100, 150) == found.pred_panoptic_seg.sem_seg.shape
    assert found.seg_logits.data.shape == (4, 100, 150)
    assert torch.equal(found.seg_logits.data.argmax(0), found.pred_sem_seg.data[0])
    assert found.pred_instances.masks.shape[1:] == (100, 150)
    assert found.metainfo["vocabulary"] == NAMES and found.metainfo["things"] == THINGS


def test_padding_changes_nothing_but_what_the_proposals_see():
    """CLIP and the results stop where the image does."""
    model = tiny_fisa()
    images = random_images(1, 64, 96)
    sample = samples(images)[0]
    sample.set_metainfo(dict(img_shape=(48, 80), ori_shape=(48, 80)))
    with torch.no_grad():
        masks = model.propose(images, [sample])
        scores, cut = next(model.scored_masks(images, [sample]))
        whole = F.interpolate(masks, size=(64, 96), mode="bilinear")[:, :, :48, :80]
        logits = model.classify(images[:, :, :48, :80], whole)
    torch.testing.assert_close(cut, whole[0])
    torch.testing.assert_close(scores, logits[0].softmax(-1))


def test_clip_sees_the_image_as_its_own_normalisation_makes_it():
    model = tiny_fisa()
    plain = torch.rand(1, 3, 8, 8)
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
    seen = model._as_clip_takes((plain * 255 - mean) / std)
    own_mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    own_std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    torch.testing.assert_close(seen, (plain - own_mean) / own_std, rtol=1e-4, atol=1e-4)


def test_words_are_encoded_once_for_a_vocabulary():
    model = tiny_fisa()
    calls = []
    encode = model.backbone.encode_text
    model.backbone.encode_text = lambda tokens, shared: calls.append(len(tokens)) or encode(tokens, shared)
    model.text_encoder.forget()
    images = random_images(3)
    with torch.no_grad():
        model.predict(images, samples(images))
        model.predict(images, samples(images))
    assert calls == [5]  # cat, red star, star, grass, sky
    model.train().loss(images, samples(images))
    assert calls == [5], "the text tower is frozen, so training needs it no more often"


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (2, 0, 3, 1)])
def test_targets_are_the_same_in_any_order_of_things_and_stuff(order):
    """As panoptic sets list them: Cityscapes stuff first, ADE20K mixed."""
    model, images = tiny_fisa(), random_images(1)

    def found(order):
        model.set_vocabulary(as_vocabulary([NAMES[label] for label in order]).with_stuff(NAMES[2:]))
        (sample,) = samples(images)
        place = torch.tensor([order.index(label) for label in range(4)])
        sample.gt_instances.labels = place[sample.gt_instances.labels]
        semantic = sample.gt_sem_seg.sem_seg.long()
        semantic[:, :2] = 0  # a crowd of cats: pixels of a thing without a mask
        named = place[semantic]
        named[:, :, :3] = 255
        sample.gt_sem_seg = PixelData(sem_seg=named)
        target = model.targets([sample])[0]
        loss = sum(model.train().loss(images, [sample]).values())
        assert loss.isfinite()
        return {model.vocabulary[label]: mask for label, mask in zip(target.labels.tolist(), target.masks, strict=True)}

    usual, other = found((0, 1, 2, 3)), found(order)
    assert usual.keys() == other.keys() == set(NAMES)
    assert all(torch.equal(usual[name], other[name]) for name in NAMES)
    assert not usual["sky"][:2].any() and not usual["grass"][:, :3].any()


def test_space_around_class_names_and_stuff_is_none_of_them():
    model = tiny_fisa()
    model.set_vocabulary(as_vocabulary(("cat ", "grass")).with_stuff(("grass ",)))
    assert model.vocabulary == ("cat", "grass") and model.things.tolist() == [True, False]


def test_bad_input_is_named(tmp_path):
    model = tiny_fisa()
    images = random_images(1)
    wrong = samples(images)
    wrong[0].gt_sem_seg.sem_seg[0, 0, 0] = 9
    with pytest.raises(ValueError, match=r"label 9 in a.jpg is outside the vocabulary of 4 names"):
        model.loss(images, wrong)
    with pytest.raises(ValueError, match="'dog' is given as stuff, but is none of the 4 class names"):
        model.set_vocabulary(as_vocabulary(NAMES).with_stuff(("dog",)))
    assert model.vocabulary == NAMES
    with pytest.raises(ValueError, match="unknown entries in test_cfg: object_treshold"):
        MODELS.build(dict(fisa_config(), test_cfg=dict(object_treshold=0.5)))
    model.generator.init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "mask2former.pth"))
    with pytest.raises(FileNotFoundError, match=r"the proposals' checkpoint mask2former.pth is not there"):
        model.init_weights()
