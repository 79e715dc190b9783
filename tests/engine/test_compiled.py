"""MMEngine's switch `compile`: a training step given to torch.compile is the same training, up to rounding."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_models import backbone_config, tiny_segmentor

from hclip_mmseg.apis.launch import load_config
from hclip_mmseg.apis.train import train

SMALL = (
    "model.backbone.clip.model.vision_cfg.layers=3", "model.backbone.clip.model.text_cfg.layers=1",
    "optim_wrapper.optimizer.weight_decay=0.01", "optim_wrapper.paramwise_cfg.bias_decay_mult=0.0",
)  # fmt: skip


def trained(config: Path, folder: Path, *settings: str) -> dict:
    """The checkpoint of two iterations, whose biases are groups of their own."""
    named = f"experiment_name={folder.parent.name}{folder.name}"
    train(load_config(config, [*SMALL, "train_cfg.max_iters=2", named, *settings], str(folder)))
    return torch.load(folder / "iter_2.pth", map_location="cpu", weights_only=False)


def test_a_compiled_training_is_the_same(tiny_config, tmp_path):
    plain = trained(tiny_config, tmp_path / "plain")
    compiled = trained(tiny_config, tmp_path / "compiled", "compile.backend=eager")
    torch.compiler.reset()
    assert len(plain["optimizer"]["param_groups"]) > 1
    for part in ("state_dict", "optimizer"):  # sums of gradients are added up in another order
        torch.testing.assert_close(compiled[part], plain[part], rtol=1e-5, atol=1e-7)


def test_a_compiled_step_may_compute_parts_again():
    """Through the partitioner that Inductor takes, which decides itself what a backward pass computes again."""
    model = tiny_segmentor(names=("cat", "dog", "red star"), backbone=backbone_config(checkpoint_text=True)).train()
    model.decode_head.aggregator.training_chunk = 2
    images, samples = torch.randn(2, 3, 64, 64), [SegDataSample(), SegDataSample()]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.randint(3, (1, 64, 64)))
    found = []
    for loss in (model.loss, torch.compile(model.loss, backend="aot_eager_decomp_partition")):
        model.zero_grad()
        loss(images, samples)["decode.loss_bce"].backward()
        found.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    torch.compiler.reset()
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
