import json

import numpy as np
import open_clip
import pytest
import torch

from hclip_mmseg.demo_assets.pretraining import tiny_clip as pretraining
from hclip_mmseg.demo_assets.pretraining.batches import Phase, used_tokens
from hclip_mmseg.demo_assets.pretraining.losses import contrastive_loss
from hclip_mmseg.demo_assets.pretraining.run import Settings
from hclip_mmseg.demo_assets.scenes import BACKGROUNDS, SCENE_CLASSES, render_scene
from hclip_mmseg.demo_assets.tiny_clip import (
    CHECKPOINT_PATH,
    CONFIG_PATH,
    build,
    dense_features,
    name_embeddings,
    preprocess,
    save_compressed,
)


@pytest.fixture(scope="module")
def tiny_clip():
    return build()


def test_geometry_mirrors_vit_b16(tiny_clip):
    config = json.loads(CONFIG_PATH.read_text())
    vision, text = config["vision_cfg"], config["text_cfg"]
    assert tiny_clip.visual.grid_size == (24, 24)
    assert tiny_clip.visual.positional_embedding.shape == (1 + 24 * 24, vision["width"])
    assert text["width"] * 6 == vision["width"] * 4  # ViT-B/16: 512 and 768
    assert vision["layers"] % text["layers"] == 0
    assert text["context_length"] == 77 and text["vocab_size"] == 49408


def test_checkpoint_is_small_and_open_clip_reads_it_by_itself():
    assert CHECKPOINT_PATH.stat().st_size < 10e6
    model = open_clip.model.CLIP(**json.loads(CONFIG_PATH.read_text()))
    open_clip.factory.load_checkpoint(model, str(CHECKPOINT_PATH), strict=True)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_single_name_prompts_retrieve_what_an_image_shows(tiny_clip):
    """Chance is 1 in 72 for objects and 1 in 6 for backgrounds."""
    scenes = [render_scene(999, i, 192, num_objects=(1, 1), num_backgrounds=(1, 1)) for i in range(32)]
    images = preprocess(np.stack([scene.image for scene in scenes]))
    with torch.no_grad():
        scores = tiny_clip.encode_image(images, normalize=True) @ name_embeddings(tiny_clip).t()
    is_object = torch.tensor([name not in BACKGROUNDS for name in SCENE_CLASSES])

    def hits(kind):
        best = scores.masked_fill(~kind, -2).argmax(1)
        return np.mean([SCENE_CLASSES[i] in scene.names for i, scene in zip(best, scenes, strict=True)])

    assert hits(is_object) > 0.3
    assert hits(~is_object) > 0.8


def test_dense_features_on_objects_know_which_of_the_present_names_it_is(tiny_clip):
    """On objects only: in this form, frozen tokens of backgrounds are mostly taken for objects present."""
    scenes = [render_scene(998, i, 192, num_objects=(2, 3)) for i in range(6)]
    features = dense_features(tiny_clip, preprocess(np.stack([scene.image for scene in scenes])))
    assert all(f.shape == (6, 576, 128) for f in features.values())
    scores = features["value"] @ name_embeddings(tiny_clip).t()
    right = chance = 0.0
    for score, scene in zip(scores, scenes, strict=True):
        labels = torch.from_numpy(scene.labels[4::8, 4::8].astype(int)).flatten()
        present = labels.unique()
        choice = present[score[:, present].argmax(1)]
        is_object = torch.tensor([SCENE_CLASSES[i] not in BACKGROUNDS for i in labels])
        right += float((choice == labels)[is_object].float().mean()) / len(scenes)
        chance += 1 / len(present) / len(scenes)
    assert right > 2 * chance


def test_value_form_is_the_last_block_where_every_token_attends_to_itself(tiny_clip):
    """Residual and value path against open_clip's own attention, masked down to the diagonal."""
    visual = tiny_clip.visual
    images = preprocess(np.stack([render_scene(1, 0, 192).image]))
    inputs = {}
    hook = visual.transformer.resblocks[-1].register_forward_pre_hook(lambda _, args: inputs.update(x=args[0]))
    with torch.no_grad():
        visual(images)
        hook.remove()
        block = visual.transformer.resblocks[-1]
        alone = torch.full((577, 577), float("-inf")).fill_diagonal_(0)
        path = block.attention(block.ln_1(inputs["x"]), attn_mask=alone)
        expected = torch.nn.functional.normalize(visual.ln_post(path[:, 1:]) @ visual.proj, dim=-1)
        torch.testing.assert_close(dense_features(tiny_clip, images)["value"], expected, atol=1e-5, rtol=1e-4)


def test_compressed_archive_holds_the_same_numbers(tmp_path):
    state = {"a": torch.randn(4, 5), "b": torch.zeros(1000, 64).half()}
    save_compressed(state, tmp_path / "x.pt")
    loaded = torch.load(tmp_path / "x.pt", weights_only=True)
    assert loaded.keys() == state.keys() and all(torch.equal(loaded[k], state[k]) for k in state)
    assert (tmp_path / "x.pt").stat().st_size < 20_000
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


class TestPretraining:
    def test_towers_agree_with_open_clip(self):
        torch.manual_seed(0)
        model = pretraining.TinyCLIP(json.loads(CONFIG_PATH.read_text())).eval()
        exported = build({name: value.float() for name, value in model.export().items()})
        tokens = open_clip.get_tokenizer("ViT-B-32")(["a red striped star on grass", "A photo of a water in the scene"])
        images = torch.randn(1, 3, 192, 192)
        with torch.no_grad():
            close = dict(atol=2e-3, rtol=0)  # half precision of the export
            torch.testing.assert_close(model.encode_text(tokens), exported.encode_text(tokens, normalize=True), **close)
            inputs = {}
            exported.visual.transformer.resblocks[-1].register_forward_pre_hook(
                lambda _, args: inputs.update(x=args[0])
            )
            embedding = exported.encode_image(images, normalize=True)
            patches = torch.nn.functional.normalize(model.patch_projection(inputs["x"][:, 1:]), dim=-1)
            torch.testing.assert_close(model.encode_image(images), (embedding, patches), **close)

    def test_soft_maximum_lies_between_mean_and_maximum_and_meets_them(self):
        similarity = torch.rand(2, 9, 4)
        mean, greatest = similarity.mean(1), similarity.amax(1)
        between = pretraining.soft_maximum(similarity)
        assert (mean < between).all() and (between < greatest).all()
        torch.testing.assert_close(pretraining.soft_maximum(similarity, 1e-3), mean, atol=1e-3, rtol=0)
        torch.testing.assert_close(pretraining.soft_maximum(similarity, 1e4), greatest, atol=1e-3, rtol=0)

    def test_every_caption_is_made_of_trained_tokens(self):
        used = used_tokens()
        tokenizer = open_clip.get_tokenizer("ViT-B-32")
        captions = [render_scene(3, i, 64, num_objects=(0, 3)).caption for i in range(200)]
        assert torch.isin(tokenizer(captions), used).all()

    def test_loss_agrees_with_a_slow_loop(self):
        torch.manual_seed(0)
        images = torch.nn.functional.normalize(torch.randn(3, 8), dim=1)
        texts = torch.nn.functional.normalize(torch.randn(5, 8), dim=1)
        positive = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 1, 0]]).bool()
        logits = 7 * images @ texts.t()

        def slow(logits, positive):
            rows = []
            for row, mask in zip(logits, positive, strict=True):
                terms = [
                    -torch.log(row[j].exp() / (row[j].exp() + row[~mask].exp().sum())) for j in mask.nonzero()[:, 0]
                ]
                if terms:
                    rows.append(sum(terms) / len(terms))
            return sum(rows) / len(rows)

        expected = (slow(logits, positive) + slow(logits.t(), positive.t())) / 2
        loss = contrastive_loss(logits, positive)
        torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("text", ["64", "65:8:1-1:5", "64:0:1-1:5", "64:8:1:5", "256:8:1-1:5"])
    def test_bad_phases_are_named(self, text):
        with pytest.raises(Exception, match=text):
            Phase.parse(text)

    def test_a_resumed_run_equals_an_uninterrupted_one(self, tmp_path):
        def run(folder, phases, save_every):
            settings = Settings(
                work_dir=str(tmp_path / folder), phases=[Phase.parse(p) for p in phases],
                lr=1e-3, warmup=2, seed=0, log_every=1, save_every=save_every, eval_every=100, eval_scenes=1,
            )  # fmt: skip
            pretraining.pretrain(settings)
            return torch.load(tmp_path / folder / "last.pt", weights_only=True)["model"]

        calls = 0
        original = pretraining.step_loss

        def failing(*arguments):
            nonlocal calls
            calls += 1
            if calls == 3:
                raise KeyboardInterrupt
            return original(*arguments)

        phases = ["32:8:1-1:3:0.25"]
        whole = run("whole", phases, 2)
        pretraining.step_loss = failing
        try:
            with pytest.raises(KeyboardInterrupt):
                run("broken", phases, 2)
        finally:
            pretraining.step_loss = original
        resumed = run("broken", phases, 2)
        for name, value in whole.items():
            torch.testing.assert_close(resumed[name], value, atol=1e-6, rtol=1e-5)
