"""CLIP's ConvNeXt under CAT-Seg's head: maps, gradients, a model asked for names."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_maft_plus import GEOMETRY as OF_STRIDE_16
from tiny_models import HEAD, PREPROCESSOR, clip_geometry
from tiny_sed import GEOMETRY

from hclip_mmseg.clip import build_clip
from hclip_mmseg.models import ConvNeXtBackbone


def test_maps_are_the_stages_and_the_projected_last():
    torch.manual_seed(0)
    backbone = ConvNeXtBackbone(dict(model=GEOMETRY))
    visual = build_clip(GEOMETRY, timm_trunk=True).visual
    visual.load_state_dict(backbone.image_tower.state_dict())
    images = torch.randn(1, 3, 64, 96)
    third, second, dense = backbone(images)
    assert dense.shape == (1, backbone.embed_dim, 2, 3)
    assert third.shape[-2:] == (4, 6) and second.shape[-2:] == (8, 12)
    x = visual.trunk.stem(images)
    stages = []
    for stage in visual.trunk.stages:
        x = stage(x)
        stages.append(x)
    torch.testing.assert_close(second, stages[1])
    torch.testing.assert_close(third, stages[2])
    # an image of one position of the last map is that position's embedding
    torch.testing.assert_close(backbone(images[..., :32, :32]).dense[0, :, 0, 0], visual(images[..., :32, :32])[0])
    with pytest.raises(ValueError, match="multiples of 32 pixels"):
        backbone(torch.zeros(1, 3, 40, 64))
    with pytest.raises(ValueError, match="not a ConvNeXt"):
        ConvNeXtBackbone(dict(model=clip_geometry()))
    with pytest.raises(ValueError, match="strides .4, 8, 16, 16. must double"):
        ConvNeXtBackbone(dict(model=OF_STRIDE_16))


def test_a_segmentor_trains_the_image_tower_and_labels_an_image():
    init_default_scope("mmseg")
    torch.manual_seed(0)
    backbone = ConvNeXtBackbone(dict(model=GEOMETRY))
    channels = tuple(backbone.image_tower.channels[2:0:-1])
    model = MODELS.build(
        dict(
            type="OpenVocabSegmentor",
            data_preprocessor=PREPROCESSOR,
            backbone=dict(type="ConvNeXtBackbone", clip=dict(model=GEOMETRY)),
            text_encoder=dict(type="TextEncoderNeck"),
            decode_head={**HEAD, "text_channels": backbone.embed_dim, "guidance_channels": channels},
            test_cfg=dict(mode="slide_whole", canvas=96, window=64, clip_resolution=64),
        )
    )
    model.set_vocabulary(["cat", "grass", "sky"])
    batch = dict(inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)], data_samples=[labelled((64, 64))])
    batch = model.data_preprocessor(batch, True)
    losses = model.loss(batch["inputs"], batch["data_samples"])
    sum(value for name, value in losses.items() if "loss" in name).backward()
    tower = model.backbone.image_tower
    assert tower.trunk.stem[0].weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in tower.head.parameters())
    assert all(parameter.grad is None for parameter in model.backbone.text_tower.parameters())
    image = torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8)
    with torch.no_grad():
        (result,) = model.eval().test_step(dict(inputs=[image], data_samples=[labelled((60, 80))]))
    assert result.pred_sem_seg.data.shape == (1, 60, 80)


def labelled(size: tuple[int, int]) -> SegDataSample:
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size))
    sample.gt_sem_seg = PixelData(data=torch.randint(0, 3, (1, *size)))
    return sample
