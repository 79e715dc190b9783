"""MAFT+ as a segmentor: what trains, what stays, what it predicts."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from tiny_maft_plus import NAMES, WIDTH, batch, tiny_maft_plus
from tiny_mask_models import fisa_config

from hclip_mmseg.mask_classification.view import view_size
from hclip_mmseg.reference import maft_plus as direct_maft_plus

TOWER = ("backbone.image_tower.trunk.stem.", "backbone.image_tower.trunk.stages.")
PROPOSALS = ("head.", "void")
FROZEN = dict(backbone=dict(frozen_stages=4), cdt=None, rc=None, mask_aware_loss=None)
ROWS = {
    "baseline": (FROZEN, PROPOSALS),
    "cdt": (dict(FROZEN, cdt=dict(heads=4), mask_aware_loss=dict()), (*PROPOSALS, "cdt.")),
    "rc": (dict(cdt=None), (*PROPOSALS, *TOWER)),
    "both": ({}, (*PROPOSALS, *TOWER, "cdt.")),
    "mlp": (dict(cdt=dict(type="mlp", heads=4)), (*PROPOSALS, *TOWER, "cdt.")),
    "published": (
        dict(cdt=dict(type="semantic"), rc=dict(type="published")),
        (*PROPOSALS, *TOWER, "cdt."),
    ),
    "maft": (
        dict(cdt=None, rc=None, distillation=dict(), mask_aware_loss=dict(type="published")),
        (*PROPOSALS, *TOWER),
    ),
    "frozen to stage 2": (
        dict(backbone=dict(frozen_stages=2)),
        (*PROPOSALS, *(f"{TOWER[1]}{stage}." for stage in (2, 3)), "cdt."),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_training_step_moves_what_the_row_names_and_nothing_else(row):
    changes, expected = ROWS[row]
    model = tiny_maft_plus(**copy.deepcopy(changes))
    with torch.no_grad():  # where nothing has moved yet, smooth L1 has no gradient
        for parameter in model.backbone.image_tower.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter) * parameter.requires_grad)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    sum(model.loss(*batch()).values()).backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    named = {name for name, _ in model.named_parameters() if name.startswith(expected)}
    # rows of an attention may see no gradient in one step, but each parameter of a part must be able to move
    assert moved <= named and {name for name, p in model.named_parameters() if p.requires_grad} == named
    assert all(any(name.startswith(part) for name in moved) for part in expected)


def losses_and_parts(model):
    losses = model.loss(*batch())
    proposals = [
        value for name, value in losses.items() if name.split(".")[-1] in ("loss_cls", "loss_mask", "loss_dice")
    ]
    return losses, sum(proposals)


def test_gradients_of_proposals_never_reach_clip_or_transfer():
    model = tiny_maft_plus()
    losses, proposals = losses_and_parts(model)
    assert len(losses) == 4 * 3 + 2
    proposals.backward()
    for name, parameter in model.named_parameters():
        assert name.startswith(("head.", "void")) or parameter.grad is None, name
    assert all(parameter.grad is not None for parameter in model.head.parameters())


def test_mask_aware_loss_and_compensation_reach_clip_and_not_the_proposals():
    model = tiny_maft_plus()
    losses, _ = losses_and_parts(model)
    (losses["loss_mask_aware"] + losses["loss_rc"]).backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {
        name for name, p in model.named_parameters() if p.requires_grad and name.startswith((*TOWER, "cdt."))
    }


def test_compensation_starts_at_zero_and_grows_with_the_towers_drift():
    model = tiny_maft_plus()
    assert model.loss(*batch())["loss_rc"].item() == 0
    with torch.no_grad():
        model.backbone.image_tower.trunk.stages[3].blocks[1].mlp.fc2.bias.add_(0.5)
    assert model.loss(*batch())["loss_rc"].item() > 0


def test_distillation_compares_scores_of_whole_images():
    """MAFT's: softmax over the names of CLIP's own embedding of an image, void left out; 0 before training."""
    model = tiny_maft_plus(cdt=None, rc=None, distillation=dict(weight=0.1))
    assert model.loss(*batch())["loss_distillation"].item() == 0
    with torch.no_grad():
        model.backbone.image_tower.trunk.stages[3].blocks[1].mlp.fc2.bias += torch.linspace(-2, 2, 192)
    images = batch()[0]
    words = model.text_encoder(model.backbone.encode_text, model.backbone.text_parameters())[:, 0]
    scores = []
    for dense in (model.backbone(images)[-1], model.backbone.frozen_trunk(images)):
        pooled = model.backbone.image_tower.trunk.forward_head(dense)  # timm's own: the mean, then the norm
        embeddings = F.normalize(model.backbone.image_tower.head(pooled).flatten(1), dim=-1)
        cosines = embeddings @ F.normalize(words, dim=-1).T  # cat, dog, puppy, grass
        best = torch.stack([cosines[:, 0], cosines[:, 1:3].amax(1), cosines[:, 3]], dim=1)
        scores.append((model.backbone.logit_scale.exp().clamp(max=100) * best).softmax(1))
    difference = (scores[0] - scores[1]).abs()
    expected = 0.1 * difference.square().mul(0.5).mean()  # smooth L1 below 1
    assert expected > 1e-5
    torch.testing.assert_close(model.loss(*batch())["loss_distillation"], expected)


def test_checkpoints_hold_no_frozen_copy_and_loading_leaves_it_alone():
    model, other = tiny_maft_plus(), tiny_maft_plus(seed=1)
    images = batch()[0]
    before = other.backbone.frozen_trunk(images)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.backbone.frozen_trunk(images), before)
    torch.testing.assert_close(other.backbone(images)[-1], model.backbone(images)[-1])


def literal_scores(model, ensemble: dict | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [Q, T + 1] of the first image of the batch, and its mask logits at the size of the input."""
    images, samples = batch()
    images = F.pad(images[:1, :, :, :56], (0, 8))  # what lies beyond the image is nothing to it
    maps = model.backbone(images)
    words = model.text_encoder(model.backbone.encode_text, model.backbone.text_parameters())[:, 0]
    own, masks = model.head(list(maps), samples)
    own, masks = own[-1][0], masks[-1]
    columns = F.normalize(torch.cat([words, model.void]), dim=-1)
    projected = model.backbone.project(maps[-1].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    changed = F.normalize(model.cdt(words, projected)[0], dim=-1)
    inside = F.interpolate(masks, maps[-1].shape[-2:], mode="bilinear")[0] > 0
    rows = []
    for query in range(len(own)):
        void_scale, clip_scale = model.head.logit_scale.exp(), min(model.backbone.logit_scale.exp(), 100)
        inner = void_scale * columns @ F.normalize(own[query], dim=-1)
        here = inside[query]
        pooled = maps[-1][0][:, here].mean(1) if here.any() else torch.zeros(maps[-1].shape[1])
        outer = clip_scale * changed @ F.normalize(model.backbone.project(pooled), dim=-1)
        # words are cat, dog, puppy, grass: the best of dog and puppy counts
        inner = torch.stack([inner[0], inner[1:3].max(), inner[3], inner[4]])
        names = torch.stack([outer[0], outer[1:3].max(), outer[3]])
        void = inner.softmax(0)[-1]
        scores = names.softmax(0)
        if ensemble is not None:
            weights = torch.tensor([ensemble["alpha"], ensemble["beta"], ensemble["beta"]])
            mixed = inner[:3].softmax(0) ** (1 - weights) * scores**weights
            scores = mixed / mixed.sum()
        rows.append(torch.cat([scores * (1 - void), void[None]]))
    return torch.stack(rows), F.interpolate(masks, images.shape[-2:], mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        (dict(alpha=0.4, beta=0.8), "model.ensemble lacks 'trained'"),
        (dict(alfa=0.4, beta=0.8, trained=["cat"]), "unknown entries in model.ensemble: alfa; it takes alpha, beta"),
        (dict(alpha=4, trained=["cat"]), "model.ensemble.alpha is a weight from 0 to 1, not 4"),
        (dict(beta="0.8", trained=["cat"]), "model.ensemble.beta is a weight from 0 to 1, not '0.8'"),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused_when_the_model_is_built(ensemble, message):
    with pytest.raises(ValueError, match=message):
        tiny_maft_plus(ensemble=ensemble)


@pytest.mark.parametrize("ensemble", [None, dict(alpha=0.4, beta=0.8, trained=["cat", "horse"])])
@torch.no_grad()
def test_names_are_clips_and_void_is_the_heads(ensemble):
    model = tiny_maft_plus(ensemble=ensemble).eval()
    scores, masks = literal_scores(model, ensemble)
    found, found_masks = next(iter(model.scored_masks(*batch())))
    torch.testing.assert_close(found, scores, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found_masks, masks[:, :, :56])
    torch.testing.assert_close(found.sum(-1), torch.ones(len(found)))


@torch.no_grad()
def test_predictions_have_the_images_size_and_know_their_names():
    model = tiny_maft_plus(test_cfg=dict(object_threshold=0.0, overlap_threshold=0.0, instance=True)).eval()
    for sample in model.predict(*batch()):
        assert sample.pred_sem_seg.sem_seg.shape == (1, 40, 35)
        assert int(sample.pred_sem_seg.sem_seg.max()) < len(NAMES)
        ids = sample.pred_panoptic_seg.sem_seg
        assert ids.shape == (1, 40, 35)
        assert sample.metainfo["things"] == NAMES[:2] and sample.metainfo["vocabulary"] == NAMES
        assert sample.pred_instances.masks.shape[1:] == (40, 35)


@torch.no_grad()
def test_images_are_looked_at_in_one_size():
    assert view_size((480, 640), (800, 1333)) == (800, 1067)
    assert view_size((2000, 500), (800, 1333)) == (1333, 333)
    model = tiny_maft_plus(view=(64, 100)).eval()
    small = torch.randn(3, 32, 40)
    large = F.interpolate(small[None], (64, 80), mode="bilinear", antialias=True)[0]
    found = []
    for image in (small, large):
        padded = F.pad(image, (0, 7, 0, 5), value=3.0)[None]
        sample = DetDataSample(metainfo=dict(img_shape=image.shape[1:], ori_shape=(20, 25)))
        found.append(next(iter(model.scored_masks(padded, [sample]))))
    (scores, masks), (large_scores, large_masks) = found
    assert masks.shape == (6, 64, 80)
    torch.testing.assert_close(scores, large_scores)
    torch.testing.assert_close(masks, large_masks)


@torch.no_grad()
def test_other_names_need_no_training():
    model = tiny_maft_plus().eval()
    model.set_vocabulary(["sky", "tree", "car", "person"], templates="vild")
    scores, _ = next(iter(model.scored_masks(*batch())))
    assert scores.shape == (6, 5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(FROZEN, rc=dict()), "rc is given though the image tower is frozen"),
        (dict(FROZEN, distillation=dict()), "distillation is given though the image tower is frozen"),
        (dict(FROZEN, mask_aware_loss=dict()), "mask_aware_loss trains the image tower and cdt"),
        (dict(mask_aware_loss=None), "mask_aware_loss trains the image tower and cdt"),
        (dict(cdt=dict(type="gpt")), "cdt.type must be one of"),
        (dict(rc=dict(type="cosine")), "rc.type must be one of"),
        (dict(test_cfg=dict(treshold=1)), "unknown entries in test_cfg: treshold"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        tiny_maft_plus(**copy.deepcopy(changes))


def test_labels_outside_the_vocabulary_are_refused():
    model = tiny_maft_plus()
    images, samples = batch()
    samples[0].gt_instances.labels[1] = 7
    with pytest.raises(ValueError, match="label 7 in .* is outside the vocabulary of 3 names"):
        model.loss(images, samples)


@pytest.mark.parametrize("transfer", ["paper", "printed"])
def test_losses_are_the_equations_written_out(transfer):
    model = tiny_maft_plus(cdt=dict(type=transfer, layers=2, heads=8))
    with torch.no_grad():
        for parameter in model.backbone.image_tower.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    images, samples = batch()
    samples[1] = samples[0]
    losses = model.loss(images, samples)
    proposals = model.propose(images, samples)
    groups = [[0], [1, 2], [3]]
    scores = direct_maft_plus.clip_scores(model, proposals.dense, proposals.words, groups, proposals.masks[-1])
    torch.testing.assert_close(scores, model.clip_logits(proposals)[..., :-1].softmax(-1), atol=1e-5, rtol=1e-4)
    expected = direct_maft_plus.mask_aware_loss(scores, proposals.masks[-1], model.targets(samples))
    torch.testing.assert_close(losses["loss_mask_aware"], expected, atol=1e-5, rtol=1e-4)
    expected = direct_maft_plus.compensation(proposals.dense, model.backbone.frozen_trunk(images))
    torch.testing.assert_close(losses["loss_rc"], expected)


def test_head_knows_no_vocabulary():
    model = tiny_maft_plus()
    embeddings, masks = model.head([each.detach() for each in model.backbone(batch()[0])], batch()[1])
    assert [tuple(each.shape) for each in embeddings] == [(2, 6, WIDTH)] * 4
    assert [tuple(each.shape) for each in masks] == [(2, 6, 16, 16)] * 4
    last, masks_again = model.eval().head([each.detach() for each in model.backbone(batch()[0])], batch()[1])
    assert len(last) == 1 and len(masks_again) == 4  # in inference only the last layer's are needed
    torch.testing.assert_close(last[0], embeddings[-1])


def test_templates_kept_apart_are_refused_as_the_first_alone_would_count():
    apart = dict(type="mmseg.TextEncoderNeck", templates=("a {}", "the {}"), average=False)
    with pytest.raises(ValueError, match="MAFTPlus compares with one embedding a name.* set text_encoder.average=True"):
        tiny_maft_plus(text_encoder=apart)
    init_default_scope("mmdet")
    with pytest.raises(ValueError, match="FISA compares with one embedding a name"):
        MODELS.build(dict(fisa_config(), text_encoder=apart))
