"""The rows of FISA's tables as configs: what each changes, and the figures that the paper prints."""

from __future__ import annotations

import pytest
from golden_numbers import read_json
from mmengine.config import Config
from tiny_mask_models import CONFIGS

FULL = "fisa_vitl14-336_swin-b_coco-panoptic"
SHORT = "fisa-10k_vitl14-336_swin-b_coco-panoptic"
ABLATIONS = {
    "baseline_vitl14-336_swin-b": "baseline",
    "seve_vitl14-336_swin-b": "+ SEVE",
    "seve-full_vitl14-336_swin-b": "+ SEVE, CLIP fully adapted",
    "fisa-10k_vitl14-336_swin-b": "+ SEVE + SIMO",
    "fisa-adapter0_vitl14-336_swin-b": "distribution adapter 0 layers",
    "fisa-adapter1_vitl14-336_swin-b": "1 layer",
    "fisa-adapter3_vitl14-336_swin-b": "3 layers",
    "fisa-lora64_vitl14-336_swin-b": "LoRA rank 64",
    "fisa-lora128_vitl14-336_swin-b": "LoRA rank 128",
    "fisa-lora256_vitl14-336_swin-b": "LoRA rank 256",
    "fisa-text_vitl14-336_swin-b": "language encoder adapted too",
    "fisa-generator_vitl14-336_swin-b": "mask generator adapted too",
    "fisa_vitb16_swin-b": "ViT-B-16 (PQ, mIoU)",
    "fisa_eva01-g-14_swin-b": "EVA01-g-14-plus (PQ, mIoU)",
}
GENERATORS = {"r50": "ResNet-50", "swin-t": "Swin-T", "swin-b": "Swin-B"}


def read(name: str) -> Config:
    return Config.fromfile(CONFIGS / f"fisa/{name}.py")


@pytest.fixture(scope="module")
def published():
    return read_json("published")


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_run_10k_iterations_and_print_the_papers_figures(name, published):
    config = read(f"{name}_coco-panoptic")
    assert config.train_cfg.max_iters == config.param_scheduler[0].end == 10_000
    assert config.train_dataloader.batch_size * 8 == config.auto_scale_lr.base_batch_size == 16
    figures = published["fisa_ablation_ade150_pq_10k"][ABLATIONS[name]]
    figures = figures if isinstance(figures, list) else [figures]
    printed = config.paper.figures
    assert [printed["ADE150 PQ"], printed.get("ADE150 mIoU")][: len(figures)] == figures


@pytest.mark.parametrize("kind", GENERATORS)
def test_generators_run_25k_iterations_and_print_the_papers_figures(kind, published):
    config = read(f"fisa_vitl14-336_{kind}_coco-panoptic")
    assert config.train_cfg.max_iters == config.param_scheduler[0].end == 25_000
    table = published["fisa_generators"]
    for column, figure in zip(table["columns"], table[GENERATORS[kind]], strict=True):
        assert config.paper.figures[column] == figure


def test_main_results_are_the_papers(published):
    config, table = read(FULL), published["fisa_main"]
    assert dict(zip(table["columns"], table["FISA"], strict=True)) == config.paper.figures.to_dict()
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("mmseg.FusedAdamW", 1e-4, 0.05)
    rates = {key: one.get("lr_mult") for key, one in config.optim_wrapper.paramwise_cfg.custom_keys.items()}
    assert rates["backbone.mask_tokens.queries"] == rates["backbone.mask_tokens.tower"] == 0.1
    assert config.model.backbone.resolution == 896 and config.benchmark_transforms[0].scale == (1333, 800)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("baseline_vitl14-336_swin-b", dict(seve=None, distribution_adapter=None, tuning="none")),
        ("seve_vitl14-336_swin-b", dict(tuning="none")),
        ("seve-full_vitl14-336_swin-b", dict(tuning="full")),
        ("fisa-adapter0_vitl14-336_swin-b", dict(distribution_adapter=dict(depth=0))),
        ("fisa-adapter3_vitl14-336_swin-b", dict(distribution_adapter=dict(depth=3))),
        ("fisa-lora64_vitl14-336_swin-b", dict(tuning=dict(type="LoRA", rank=64))),
        ("fisa-lora256_vitl14-336_swin-b", dict(tuning=dict(type="LoRA", rank=256))),
        ("fisa-text_vitl14-336_swin-b", dict(train_text=True)),
        ("fisa-generator_vitl14-336_swin-b", dict()),
    ],
)
def test_a_row_changes_what_its_name_says_and_nothing_else(name, changes):
    own, base = read(f"{name}_coco-panoptic"), read(SHORT)
    backbone = own.model.backbone.to_dict()
    backbone.pop("checkpoint_blocks", None)  # the same numbers with less memory
    assert backbone == {**base.model.backbone.to_dict(), **changes}
    assert own.model.get("train_generator", False) == ("generator" in name)
    assert own.model.generator.to_dict() == base.model.generator.to_dict()
