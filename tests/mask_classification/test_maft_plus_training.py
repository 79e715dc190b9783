"""MAFT+ on COCO-Stuff's label maps, from the config's pipeline to a step."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from tiny_maft_plus import batch, tiny_maft_plus

import hclip_mmseg.mask_classification  # noqa: F401  registers its transforms


def test_semantic_label_maps_train_a_mask_for_every_class(repository, coco_stuff):
    config = Config.fromfile(repository / "configs/_base_/datasets/coco-stuff-masks_800.py")
    settings = config.train_dataloader.dataset.to_dict()
    for step in settings["pipeline"]:
        if "scales" in step:
            step.update(scales=[64, 96])
        if "crop_size" in step:
            step.update(crop_size=(64, 64))
    init_default_scope("mmdet")
    dataset = DATASETS.build({**settings, "data_root": str(coco_stuff)})
    entries = [dataset[index] for index in range(2)]
    for entry in entries:
        sample = entry["data_samples"]
        labels = sample.gt_sem_seg.sem_seg[0].numpy()
        present = [label for label in np.unique(labels).tolist() if label != 255]
        assert sample.gt_instances.labels.tolist() == present
        for label, mask in zip(present, sample.gt_instances.masks.masks, strict=True):
            assert np.array_equal(mask.astype(bool), labels == label)

    model = tiny_maft_plus()
    model.set_vocabulary(dataset.metainfo["classes"])
    data = model.data_preprocessor(pseudo_collate(entries), training=True)
    targets = model.targets(data["data_samples"])
    assert [len(target.labels) for target in targets] == [len(e["data_samples"].gt_instances) for e in entries]
    losses = model(**data, mode="loss")
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()


def gradients(model) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)  # of the sampled points
    sum(model.loss(*batch()).values()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_stages_computed_again_have_the_same_gradients():
    plain, again = tiny_maft_plus(), tiny_maft_plus(backbone=dict(checkpoint_stages=True))
    again.load_state_dict(plain.state_dict())
    expected, found = gradients(plain), gradients(again)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_mixed_precision_has_nearly_the_same_losses():
    model = tiny_maft_plus(cdt=dict(type="semantic"), rc=dict(type="published"))
    torch.manual_seed(0)
    expected = model.loss(*batch())
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.loss(*batch())
    for name in ("loss_mask_aware", "loss_rc"):
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], expected[name], atol=0.02, rtol=0.05)


def test_steps_bring_scores_nearer_to_overlaps():
    model = tiny_maft_plus()
    tuned = [p for name, p in model.named_parameters() if p.requires_grad and name.startswith(("backbone.", "cdt."))]
    optimizer = torch.optim.AdamW(tuned, lr=1e-3)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        found = model.loss(*batch())
        (found["loss_mask_aware"] + found["loss_rc"]).backward()
        optimizer.step()
        losses.append(found["loss_mask_aware"].item())
    assert losses[-1] < 0.8 * losses[0]
