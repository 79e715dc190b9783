"""Text towers of every kind with and without adapters, recomputed or not, against open_clip's own blocks one by one."""

from __future__ import annotations

import pytest
import torch
from open_clip.transformer import text_global_pool
from other_towers import KINDS, geometry, tiny_tokenizer
from tiny_models import pop_config, randomise
from torch import nn

from hclip_mmseg.clip import build_clip, cut_behind_longest, tokenize
from hclip_mmseg.models import HCLIPBackbone
from hclip_mmseg.models.necks.text_batches import shared_start

NAMES, TEMPLATES = ("cat", "traffic light", "sky"), ("a photo of a {}.",)
ADAPTERS = {
    "none": None,
    "POP": pop_config(),
    "SSF": dict(type="SSF", image=False),
    "VPT": dict(type="VPT", length=3),
    "LST": dict(type="LST", image_side=16, text_side=8, head_width=4),
}


class OpenClipText(nn.Module):
    """Embeddings by open_clip's own blocks, on whole texts; prompts stand before the tokens of every block.

    Args:
        clip: open_clip's model, or its text module.
        adapter: whose prompts and side network are used; other adapters are folded into the weights.
    """

    def __init__(self, clip, adapter):
        super().__init__()
        self.clip, self.adapter = clip, adapter

    def forward(self, tokens):
        clip, adapter, states = self.clip, self.adapter, []
        x = clip.token_embedding(tokens) + clip.positional_embedding
        for layer, block in enumerate(clip.transformer.resblocks):
            prompts = None if adapter is None else adapter.prompts("text", layer)
            before = 0 if prompts is None else len(prompts)
            mask = clip.attn_mask
            if prompts is not None:
                x = torch.cat([prompts.expand(len(x), -1, -1), x], dim=1)
                if mask is not None:  # all tokens see the prompts; what a prompt sees is dropped
                    mask = nn.functional.pad(mask, (before, 0, before, 0))
            x = block(x, attn_mask=mask)[:, before:]
            states.append(x)
        if adapter is not None and adapter.has_side:
            x = adapter.side("text", states)
        pooling = getattr(clip, "text_pool_type", getattr(clip, "pool_type", None))
        end = getattr(clip, "text_eos_id", getattr(clip, "eos_id", None))
        read = text_global_pool(clip.ln_final(x), tokens, pooling, end)
        projection = clip.text_projection
        return projection(read) if isinstance(projection, nn.Linear) else read @ projection


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def embeddings_and_gradients(backbone, embed, *given):
    backbone.zero_grad()
    found = embed(*given)
    (found * torch.linspace(-1, 1, found.numel(), dtype=found.dtype).view_as(found)).sum().backward()
    trained = {name: value.grad for name, value in backbone.named_parameters() if value.grad is not None}
    return found, {name: value.clone() for name, value in trained.items()}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_and_gradients_are_those_of_open_clips_blocks(kind, adapter, tokenizer):
    model = geometry(kind, tokenizer)
    torch.manual_seed(3)
    backbone = HCLIPBackbone(
        clip=dict(model=model), guidance_layers=(), guidance_channels=(), adapter=ADAPTERS[adapter]
    )
    tower = backbone.text_tower
    randomise(tower, 0.05)
    if backbone.adapter is None:
        tower.requires_grad_(True)
    else:
        randomise(backbone.adapter)
    backbone = backbone.double()

    clip = build_clip(model).double()
    text = getattr(clip, "text", clip)
    assert not text.load_state_dict(tower.state_dict(), strict=False).unexpected_keys
    folds = backbone.adapter is not None and backbone.adapter.foldable
    plain = OpenClipText(text, None if folds else backbone.adapter)
    whole = tokenize(NAMES, TEMPLATES, backbone.tokenizer).flatten(0, 1)
    torch.testing.assert_close(OpenClipText(text, None)(whole), clip.encode_text(whole))

    def by_open_clip():
        if backbone.adapter is None:
            own = dict(tower.named_parameters())
        else:
            own = backbone.folded_parameters("text") if folds else {}
        return torch.func.functional_call(plain, {f"clip.{name}": value for name, value in own.items()}, (whole,))

    expected, gradients = embeddings_and_gradients(backbone, by_open_clip)
    ends = backbone.tokenizer.ends(whole)
    cut, shared = whole, 0
    if tower.cuts:
        cut, shared = cut_behind_longest(whole, ends), shared_start(whole.numpy(), ends.numpy())
    assert (shared > 1) == (kind in ("eva02", "metaclip2"))
    for backbone.checkpoint_text in (False, True):
        for alike in {0, shared}:
            found, computed = embeddings_and_gradients(backbone, backbone.encode_text, cut, alike)
            torch.testing.assert_close(found, expected)
            assert computed.keys() == gradients.keys() and gradients
            for name, value in gradients.items():
                torch.testing.assert_close(computed[name], value, msg=lambda text, name=name: f"{name}: {text}")
