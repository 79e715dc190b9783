"""Runs that are the same bit for bit when they are repeated on a GPU; what can be told without one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_maft_plus import batch, tiny_maft_plus
from tiny_models import HEAD, backbone_config, clip_geometry, tiny_segmentor
from tiny_sed import tiny_sed
from torch import Tensor

from hclip_mmseg.apis import launch
from hclip_mmseg.apis.launch import run_errors
from hclip_mmseg.apis.repeatable import make_repeatable
from hclip_mmseg.apis.train import prepare_training
from hclip_mmseg.costs.kernels import Kernels

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
REFUSED = {
    "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "_upsample_bicubic2d_aa_backward",
    "_upsample_bilinear2d_aa_backward", "adaptive_max_pool2d_backward", "avg_pool3d_backward",
    "grid_sampler_2d_backward", "histc", "kthvalue", "max_pool3d_with_indices_backward", "median", "nll_loss2d_forward",
    "put_", "reflection_pad2d_backward", "upsample_bicubic2d_backward", "upsample_linear1d_backward",
    "upsample_trilinear3d_backward",
}  # fmt: skip
"""What torch refuses on a GPU then; it computes bilinear resizes of maps, refused too, in another way by itself."""


CROSS_ENTROPY = dict(type="CrossEntropyLoss", avg_non_ignore=True)


def segmentor_step(head: Mapping[str, object] | None = None, **backbone: object) -> dict[str, Tensor]:
    parts = dict(backbone=backbone_config(**backbone), decode_head={**HEAD, **(head or {})})
    model = tiny_segmentor(names=("cat", "grass"), **parts).train()
    labels = torch.tensor([0, 1, 255]).repeat(2, 1, 64, 22)[..., :64]
    samples = [SegDataSample(gt_sem_seg=PixelData(data=own)) for own in labels]
    return model.loss(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), samples)


def positions_step() -> dict[str, Tensor]:
    """Of a CLIP whose grid is another than that of the images."""
    geometry = clip_geometry()
    geometry["vision_cfg"]["image_size"] = 32
    return segmentor_step(clip=dict(model=geometry), train_positions=True)


def sed_step() -> dict[str, Tensor]:
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 64, 64, dtype=torch.long)))
    return tiny_sed().train().loss(torch.randn(1, 3, 64, 64), [sample])


STEPS: dict[str, Callable[[], dict[str, Tensor]]] = {
    "h-clip": segmentor_step,
    "cat-seg": lambda: segmentor_step(adapter=dict(type="TrainedProjections")),
    "trained positions": positions_step,
    "cross-entropy": lambda: segmentor_step(dict(loss_decode=CROSS_ENTROPY)),
    "sed": sed_step,
}


@pytest.mark.parametrize("name", STEPS)
def test_a_segmentor_trains_by_operators_that_can_be_deterministic(name):
    torch.use_deterministic_algorithms(True)
    with Kernels() as kernels:
        sum(loss.mean() for loss in STEPS[name]().values() if loss.requires_grad).backward()
    assert kernels.calls.total() > 100 and not REFUSED & set(kernels.calls)


@pytest.mark.parametrize("changes", [{}, dict(avg_non_ignore=False, class_weight=[1.0, 3.0])])
def test_cross_entropy_stays_the_same(changes):
    found = []
    for asked in (False, True):
        torch.use_deterministic_algorithms(asked)
        found.append(segmentor_step(dict(loss_decode={**CROSS_ENTROPY, **changes}))["decode.loss_ce"])
    torch.testing.assert_close(found[1], found[0])


def test_compensation_can_be_deterministic():
    model = tiny_maft_plus()
    with Kernels() as kernels:
        model.loss(*batch())["loss_rc"].backward()
    assert not REFUSED & set(kernels.calls)


@pytest.mark.parametrize(
    ("randomness", "before", "after"),
    [(dict(deterministic=True), None, ":4096:8"), (dict(deterministic=True), ":16:8", ":16:8"), (None, None, None)],
)
def test_cublas_is_set_up_where_a_config_asks_for_it(randomness, before, after, monkeypatch):
    monkeypatch.delenv(CUBLAS)
    if before is not None:
        monkeypatch.setenv(CUBLAS, before)
    make_repeatable(Config(dict(randomness=randomness)))
    assert os.environ.get(CUBLAS) == after


class BuiltError(Exception):
    pass


def test_a_training_sets_it_up_before_its_model_is_built(tiny_config, tmp_path, monkeypatch):
    def build(cfg):
        raise BuiltError(os.environ.get(CUBLAS))

    monkeypatch.delenv(CUBLAS)
    monkeypatch.setattr(launch, "build_trainer", build)
    cfg = Config.fromfile(tiny_config)
    cfg.work_dir, cfg.launcher = str(tmp_path), "none"
    with pytest.raises(BuiltError, match=":4096:8"):
        prepare_training(cfg)


def test_an_operator_that_cannot_be_is_one_line(capsys):
    said = "roi_backward_cuda does not have a deterministic implementation, but you set 'torch.use_deterministic_..."
    with pytest.raises(SystemExit) as ended, run_errors():
        raise RuntimeError(said)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(
        "error: randomness.deterministic=True: torch's roi_backward_cuda has no deterministic form on a GPU; without"
    )
    with pytest.raises(RuntimeError, match="another"), run_errors():
        raise RuntimeError("another error")
