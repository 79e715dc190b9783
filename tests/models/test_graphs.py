"""The image path as one graph, and passes that compare no parameters."""

from __future__ import annotations

import pytest
import torch
from tiny_models import backbone_config, tiny_segmentor
from torch import Tensor, nn

from hclip_mmseg.adapters import ParameterVersions
from hclip_mmseg.adapters.held import forget, settle
from hclip_mmseg.models import OpenVocabSegmentor

NAMES = ("cat", "red star", "grass")


class ImagePath(nn.Module):
    """Images and text embeddings -> scores."""

    def __init__(self, model: OpenVocabSegmentor) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, text: Tensor) -> Tensor:
        *guidance, dense = self.model.backbone(images)
        return self.model.decode_head((dense, *guidance, text))


@pytest.mark.parametrize("adapter", ["POP", None])
def test_the_image_path_is_one_exported_graph(adapter):
    changes = {} if adapter else dict(backbone=backbone_config(adapter=None))
    model = tiny_segmentor(names=NAMES, **changes)
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    path = ImagePath(model)
    with torch.no_grad():
        text = model.text_encoder(model.backbone.encode_text, model.backbone.text_parameters())
        expected = path(images, text)
        exported = torch.export.export(path, (images, text), strict=False).module()
        torch.testing.assert_close(exported(images, text), expected)


def test_the_backbone_is_one_compiled_graph():
    backbone = tiny_segmentor().backbone
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = backbone(images)
        compiled = torch.compile(backbone, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(images), expected)


def test_a_settled_model_compares_no_parameters(monkeypatch):
    model = tiny_segmentor(names=NAMES)
    images = torch.randn(1, 3, 80, 100, generator=torch.Generator().manual_seed(0))
    expected = model.predict(images)[0].seg_logits.data

    def current(self, parameters):
        raise AssertionError("compared")

    with monkeypatch.context() as patch:
        patch.setattr(ParameterVersions, "current", current)
        settle(model)
        assert torch.equal(model.predict(images)[0].seg_logits.data, expected)
    with torch.no_grad():
        model.backbone.adapter.tensor.add_(0.1)
        forget(model)
    assert not torch.allclose(model.predict(images)[0].seg_logits.data, expected)
