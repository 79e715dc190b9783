"""The tiny ConvNeXt CLIP and the script that pretrains it."""

from __future__ import annotations

import pytest
import torch
from hclip_tools.pretrain_tiny import main

from hclip_mmseg.clip import ConvNeXtTower, build_clip
from hclip_mmseg.demo_assets.pretraining import tiny_convnext as pretraining
from hclip_mmseg.demo_assets.pretraining.batches import Batches, Phase
from hclip_mmseg.demo_assets.tiny_convnext import CHECKPOINT_PATH, CONFIG_PATH


def test_pretraining_writes_a_small_checkpoint_that_open_clip_reads(tmp_path):
    length = ["--phases", "32:4:1-1:2", "--eval-scenes", "1", "--log-every", "1"]
    arguments = ["convnext", "--work-dir", str(tmp_path), *length]
    main(arguments)
    checkpoint = tmp_path / "tiny_convnext.pt"
    assert checkpoint.stat().st_size < 3e6
    clip = build_clip(str(CONFIG_PATH), str(checkpoint), timm_trunk=True)
    tower = ConvNeXtTower(clip.visual)
    assert tower.strides == [4, 8, 16, 16] and tower.embed_dim == clip.text_projection.shape[1]
    text = "\n".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert '"step": 2' in text and '"masks_train"' in text
    main(arguments)  # finished, so it does nothing more
    assert '"event": "resume"' in (tmp_path / "tiny_convnext.log").read_text()


def test_embedded_checkpoint_is_small_and_tells_what_lies_in_a_mask():
    assert CHECKPOINT_PATH.stat().st_size < 3e6
    model = pretraining.TinyConvNeXtCLIP()
    state = build_clip(str(CONFIG_PATH), str(CHECKPOINT_PATH), timm_trunk=True).state_dict()
    state["token_embedding.weight"] = state["token_embedding.weight"][model.ids]
    model.clip.load_state_dict(state)
    told = pretraining.mask_accuracy(model, scenes=6)
    assert told["masks_train"] > 60 and told["masks_held_out"] > 50  # one name of 78 by chance


def test_measuring_masks_changes_nothing_in_training():
    torch.manual_seed(0)
    model = pretraining.TinyConvNeXtCLIP().train()
    pretraining.mask_accuracy(model, scenes=1)
    assert all(parameter.requires_grad for parameter in model.parameters())
    phase = Phase.parse("32:4:1-1:1")
    loss, _ = pretraining.step_loss(model, Batches(phase, 0, 0)[0], phase)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("phase, told", [("40:4:1-1:2", "multiples of 16"), ("64:4:1-1:2:0.5", "no tokens to drop")])
def test_phases_that_the_tower_does_not_take_are_refused(capsys, tmp_path, phase, told):
    with pytest.raises(SystemExit):
        main(["convnext", "--phases", phase, "--work-dir", str(tmp_path)])
    assert told in capsys.readouterr().err
