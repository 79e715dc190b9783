"""Counts of every row's config, the printed figures beside them, and the table that lists both."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from golden_numbers import read_json
from hclip_tools.count_parameters import main
from miniature import REPOSITORY
from mmengine.config import Config

from hclip_mmseg.costs.parameters import count_parameters, part_of, print_count

CONFIGS = REPOSITORY / "configs"
COLUMNS = ("A-847", "PC-459", "A-150", "PC-59", "PAS-20", "PAS-20b")
TABLES = {
    "main results": "hclip_main",
    "methods of fine-tuning, ViT-B/16": "hclip_peft_ablation_vitb16",
    "block size and orthogonality, ViT-B/16": "hclip_pop_ablation_vitb16",
}
# image and text tower, relations; POP's blocks of q: 4 projections x 12 layers x q x width
HAND = {
    "peft/freeze_vitb16": {},
    "peft/lora_vitb16": dict(image=4 * 12 * 64 * 2 * 768, text=4 * 12 * 64 * 2 * 512),
    "peft/oft_vitb16": dict(image=48 * 128 * 768, text=48 * 128 * 512),
    "peft/vpt_vitb16": dict(image=12 * 150 * 768, text=12 * 150 * 512),
    "peft/adapter_vitb16": dict(image=24 * (257 * 768 + 128), text=24 * (257 * 512 + 128)),
    "peft/lst_vitb16": dict(
        image=12 * (12 * 256**2 + 13 * 256 + 769 * 256) + 257 * 768 + 11,
        text=12 * (12 * 224**2 + 13 * 224 + 513 * 224) + 225 * 512 + 11,
    ),
    "peft/ssf_vitb16": dict(image=(12 * 22 + 4) * 768, text=(12 * 22 + 2) * 512),
    "hclip/pop_vitb16": dict(image=48 * 128 * 768, text=48 * 128 * 512),
    "hclip/dcrc_vitb16": dict(relations=48**2 + 12 * 10**2),
    "hclip/hclip_vitb16": dict(image=48 * 128 * 768, text=48 * 128 * 512, relations=48**2 + 12 * 10**2),
    "hclip/hclip-mlp_vitb16": dict(
        image=48 * 128 * 768, text=48 * 128 * 512, relations=2 * 48**2 + 2 * 10**2 + 12 * 10
    ),
    "hclip/hclip-q64_vitb16": dict(image=48 * 64 * 768, text=48 * 64 * 512, relations=48**2 + 12 * 20**2),
    "hclip/hclip-q256_vitb16": dict(image=48 * 256 * 768, text=48 * 256 * 512, relations=48**2 + 12 * 5**2),
    "hclip/hclip-orthogonal-none_vitb16": dict(image=48 * 128 * 768, text=48 * 128 * 512, relations=48**2 + 12 * 10**2),
    "hclip/hclip-orthogonal-both_vitb16": dict(image=48 * 128 * 768, text=48 * 128 * 512, relations=48**2 + 12 * 10**2),
    "cat_seg/cat-seg_vitb16": dict(image=2 * 12 * 768**2, text=2 * 12 * 512**2),
    "hclip/hclip_vitl14": dict(image=96 * 128 * 1024, text=48 * 128 * 768, relations=48**2 + 12 * 22**2),
    "cat_seg/cat-seg_vitl14": dict(image=2 * 24 * 1024**2, text=2 * 12 * 768**2),
}
# the printed figure where it follows: numbers of orthogonal blocks half, in Mi, to the digits that are printed
FOLLOWS = ("peft/lora", "peft/oft", "peft/vpt", "peft/adapter", "peft/lst", "peft/freeze")


@pytest.fixture(scope="module")
def counts():
    return {name: count_parameters(Config.fromfile(CONFIGS / f"{name}_coco-stuff.py")) for name in HAND}


@pytest.mark.parametrize("name", HAND)
def test_counts_by_hand(counts, name):
    parts = {part.split(",")[-1].split()[0]: n for part, n in counts[name]["parts"].items() if "adapters" in part}
    parts |= {part: n for part, n in counts[name]["parts"].items() if part == "relations"}
    assert parts == HAND[name]
    assert counts[name]["adapters"] == sum(HAND[name].values())
    assert "positional embeddings" not in counts[name]["parts"], "frozen, as in the published code"
    assert counts[name]["parts"]["decoder"] > 4e6


def test_published_counts_are_met_to_the_number(counts):
    assert counts["cat_seg/cat-seg_vitb16"]["adapters"] == 20_447_232
    assert counts["hclip/hclip_vitb16"]["adapters"] == 7_867_824


def test_positions_are_counted_where_they_are_trained():
    cfg = Config.fromfile(CONFIGS / "hclip/hclip_vitb16_coco-stuff.py")
    cfg.model.backbone.train_positions = True
    counted = count_parameters(cfg)
    assert counted["parts"]["positional embeddings"] == 197 * 768 + 77 * 512
    assert counted["adapters"] == 7_867_824


def test_numbers_without_effect_are_counted_and_named(counts, capsys):
    dead = {name: counted["dead"] for name, counted in counts.items() if counted["dead"]}
    shifts_of_k = 12 * (768 + 512)
    assert dead == {
        "cat_seg/cat-seg_vitb16": 768**2,  # the last block's q
        "cat_seg/cat-seg_vitl14": 1024**2,
        "peft/lora_vitb16": 2 * 2 * 64 * 768,
        "peft/oft_vitb16": 2 * 128 * 768,
        "hclip/pop_vitb16": 2 * 128 * 768,  # with a relation they act on other blocks
        "peft/vpt_vitb16": 150 * 768,
        "peft/ssf_vitb16": shifts_of_k + 3 * 768,
    }
    print_count("vpt", counts["peft/vpt_vitb16"])
    assert "of these without effect" in (said := capsys.readouterr().out) and "115,200" in said


@pytest.mark.parametrize("name", [name for name in HAND if name.startswith(FOLLOWS)])
def test_the_printed_count_follows(counts, name):
    printed = counts[name]["paper"]["params"]
    assert abs(counts[name]["free"] / 2**20 - printed) <= 0.05


def test_pops_printed_counts_follow(counts):
    free = {name: counts[f"hclip/{name}_vitb16"]["free"] / 2**20 for name in ("pop", "hclip-orthogonal-none")}
    both = counts["hclip/hclip-orthogonal-both_vitb16"]
    assert both["paper"]["params"] == pytest.approx(both["free"] / 2**20, abs=0.01)
    assert free["pop"] == pytest.approx(6.0)
    mean = (free["hclip-orthogonal-none"] + both["free"] / 2**20) / 2
    assert counts["hclip/hclip_vitb16"]["paper"]["params"] == pytest.approx(mean, abs=0.01)


def test_printed_figures_are_the_papers(counts):
    published = read_json("published")
    for name, counted in counts.items():
        paper = counted["paper"]
        table = published[TABLES[paper["table"]]]
        if paper["table"] == "main results":
            method, clip = paper["row"].split(", ")
            figures = table[clip][method]
        else:
            params, *figures = table[paper["row"]]
            assert paper["params"] == params, name
        assert [paper["mIoU"][column] for column in COLUMNS] == figures, name


def test_the_table_of_all_rows(counts):
    """configs/README.md names a file for every row, and repeats what configs and counts say."""
    text = (CONFIGS / "README.md").read_text()
    named = set()
    for line in text.splitlines():
        found = re.match(r"\| (.*?) \| \[(.*?)\]\((.*?)\) \| (.*) \|$", line)
        if not found:
            continue
        row, _, path, rest = found.groups()
        assert (CONFIGS / path).is_file(), path
        name = path.removesuffix("_coco-stuff.py")
        named.add(name)
        printed, trained, half, *figures = (cell.strip() for cell in rest.split("|"))
        counted, paper = counts[name], counts[name]["paper"]
        for cell, number in ((trained, counted["adapters"]), (half, counted["free"])):
            assert float(cell) == pytest.approx(number / 2**20, abs=0.0051 if number > 1e4 else 5.1e-5), row
        assert [float(figure) for figure in figures] == [paper["mIoU"][column] for column in COLUMNS], row
        if row in (paper["row"], "POP + DCRC") and printed:
            assert float(printed) == paper["params"], row
    assert named == set(HAND) - {"hclip/hclip-mlp_vitb16"}
    for name in HAND:
        assert f"{name}_coco-stuff.py" in text


def test_the_printed_table(capsys):
    main(["configs/hclip/hclip_vitb16_coco-stuff.py"])
    printed = capsys.readouterr().out
    for text in ("4,718,592", "3,145,728", "3,504", "7,867,824", "6,294,960", "5.63 M"):
        assert text in printed


def test_configs_of_one_name_are_all_counted(capsys, tmp_path):
    text = "_base_ = ['{}']\nmodel = dict(backbone=dict(adapter=dict(block_size={})))\n"
    configs = [tmp_path / folder / "row.py" for folder in ("one", "other")]
    for config, size in zip(configs, (64, 256), strict=True):
        config.parent.mkdir()
        config.write_text(text.format(Path("configs/hclip/hclip_vitb16_coco-stuff.py").absolute(), size))
    main(["--json", *map(str, configs), str(configs[0])])
    counted = json.loads(capsys.readouterr().out)
    assert list(counted) == list(map(str, configs))
    assert counted[str(configs[0])]["adapters"] < counted[str(configs[1])]["adapters"]


@pytest.mark.parametrize(
    "config, message", [("nowhere.py", "no config nowhere.py"), ("configs/_base_/default_runtime.py", "no model to")]
)
def test_what_cannot_be_counted(config, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([config])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, part",
    [
        ("backbone.image_tower.positional_embedding", "positional embeddings"),
        ("backbone.text_tower.transformer.resblocks.0.attn.in_proj_weight", "text tower"),
        ("backbone.adapter.layers.text.3.q.lora_up.weight", "adapters, text tower"),
        ("backbone.adapter.relation.f3.inner", "relations"),
        ("backbone.guidance_upsamples.0.weight", "decoder"),
        ("decode_head.aggregator.embed_cost.weight", "decoder"),
        ("panoptic_head.query.weight", "panoptic_head"),
    ],
)
def test_parts(name, part):
    assert part_of(name) == part
