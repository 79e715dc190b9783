"""The recipes of CONTRIBUTING.md, each followed in a copy of the project with only the files that it names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from miniature import REPOSITORY

# file -> its text, or for a file that exists: (line, what takes its place)
NEW = {
    "An adapter": {
        "hclip_mmseg/adapters/toy.py": """
import torch
from torch import nn

from hclip_mmseg.adapters.base import Adapter, tower_sizes


class Toy(Adapter):
    def __init__(self, start=1.0, **sizes):
        super().__init__()
        self.towers = tower_sizes(**sizes)
        self.scale = nn.Parameter(torch.tensor(start))

    def adapted_weight(self, tower, layer, projection, weight):
        return weight * self.scale if projection == "v" and tower in self.towers else weight
""",
        "hclip_mmseg/adapters/build.py": (
            ("\nADAPTERS", "from hclip_mmseg.adapters.toy import Toy\n\nADAPTERS"),
            ("(POP, ", "(Toy, POP, "),
        ),
    },
    "A training-free method": {
        "hclip_mmseg/training_free/toy.py": """
from mmseg.registry import MODELS

from hclip_mmseg.training_free.segmentor import TrainingFreeSegmentor


@MODELS.register_module()
class ToySegmentor(TrainingFreeSegmentor):
    def patch_logits(self, view):
        return -super().patch_logits(view)
""",
        "hclip_mmseg/training_free/__init__.py": (
            ("__all__ =", "from hclip_mmseg.training_free.toy import ToySegmentor  # noqa: F401\n\n__all__ ="),
        ),
        "configs/toys/toy_tiny_scenes.py": """
_base_ = ["../cliptrase/cliptrase_tiny_scenes.py"]

model = dict(type="ToySegmentor", regions=None)
""",
    },
    "A dataset": {
        "hclip_mmseg/vocabularies/toy.json": json.dumps(
            dict(name="toy", source="drawn here", classes=[["ball", "sphere"], ["cube"], ["floor"]])
        ),
        "hclip_mmseg/datasets/toy.py": """
from mmseg.registry import DATASETS

from hclip_mmseg.datasets.benchmark_classes import BenchmarkClasses, class_metainfo


@DATASETS.register_module()
class ToyDataset(BenchmarkClasses):
    METAINFO = class_metainfo("toy")
    HOW_TO_GET = "Draw it"

    def __init__(self, **kwargs):
        super().__init__(**{"img_suffix": ".png", "seg_map_suffix": ".png", **kwargs})
""",
        "hclip_mmseg/datasets/__init__.py": (
            ("__all__ =", "from hclip_mmseg.datasets.toy import ToyDataset  # noqa: F401\n\n__all__ ="),
        ),
        "configs/_base_/datasets/toy.py": """
_base_ = ["whole_images.py"]

test_dataloader = dict(
    dataset=dict(
        type="mmseg.ToyDataset", data_root="data/toy", data_prefix=dict(img_path="images", seg_map_path="labels")
    ),
)
""",
        "hclip_mmseg/datasets/preparation/toy.py": """
from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.preparation.conversion import Conversion, LabelMap, Split
from hclip_mmseg.datasets.preparation.declaration import Preparation, converts


def toy(root):
    images = sorted((root / "images").glob("*.png"))
    maps = [LabelMap(image, *[root / "labels" / image.name] * 2) for image in images]
    return [Conversion("toys", [Split("all", 1, maps)], None, 3)]


PREPARATIONS = (
    Preparation(
        "toy", "images and labels", converts(toy), (Benchmark("TOY", "toy.py", "toy", "data/toy", ("labels/*.png",)),)
    ),
)
""",
    },
    "A head": {
        "hclip_mmseg/models/decode_heads/toy.py": """
from mmseg.registry import MODELS

from hclip_mmseg.models.decode_heads.cosine_head import CosineHead


@MODELS.register_module()
class ToyHead(CosineHead):
    def most_similar(self, inputs):
        logits, kept = super().most_similar(inputs)
        return -logits, kept
""",
        "hclip_mmseg/models/decode_heads/__init__.py": (
            ("__all__ =", "from hclip_mmseg.models.decode_heads.toy import ToyHead  # noqa: F401\n\n__all__ ="),
        ),
        "configs/toys/toy_head_tiny_scenes.py": """
_base_ = ["../hclip/hclip_tiny_scenes.py"]

model = dict(decode_head=dict(_delete_=True, type="ToyHead", text_channels=128))
""",
    },
    "A converter": {
        "hclip_mmseg/conversion/toy.py": """
from hclip_mmseg.conversion.kind import Kind

TOY = Kind("toy", rules=(("layers.*.weight", "blocks.*.w"),), published=(r"^blocks\\.",), ours="^layers", aside="^$")
""",
        "hclip_mmseg/conversion/published.py": (
            ("\nKINDS", "from hclip_mmseg.conversion.toy import TOY\n\nKINDS"),
            ("(H_CLIP, ", "(TOY, H_CLIP, "),
        ),
    },
}
CHECKS = {
    "An adapter": """
from tiny_models import tiny_backbone
backbone = tiny_backbone(adapter=dict(type="Toy", start=0.5)).train()
backbone(torch.randn(1, 3, 64, 64))[-1].sum().backward()
assert backbone.adapter.scale.grad != 0
""",
    "A training-free method": """
images, labels = torch.randn(1, 3, 192, 192), []
for config in ("cliptrase/clip_tiny_scenes.py", "toys/toy_tiny_scenes.py"):
    model = MODELS.build(Config.fromfile(f"configs/{config}").model).eval()
    model.set_vocabulary(["red circle", "grass", "sky"])
    labels.append(model.predict(images)[0].pred_sem_seg.data)
assert labels[0].shape == labels[1].shape == (1, 192, 192) and (labels[0] != labels[1]).any()
""",
    "A dataset": """
from mmseg.registry import DATASETS
from PIL import Image
from hclip_mmseg.benchmarks.choice import choose, ready
from hclip_mmseg.datasets.preparation.processes import Options
from hclip_mmseg.datasets.preparation.registry import find_preparation
from hclip_mmseg.vocabularies import load_vocabulary
labels = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3
for folder, array in (("images", np.zeros((8, 8, 3), np.uint8)), ("labels", labels)):
    Path("data/toy", folder).mkdir(parents=True)
    Image.fromarray(array).save(f"data/toy/{folder}/one.png")
assert find_preparation("TOY").run(Path("data/toy"), Options(check=True))
(prepared,) = ready(choose(["toy"]))
assert prepared.name == "TOY" and prepared.settings["data"]["images"] == 1
assert choose(["found"])[0].name == "TOY"
dataset = DATASETS.build(prepared.dataloader["dataset"])
assert dataset.metainfo["classes"] == load_vocabulary("toy").titles == ("ball, sphere", "cube", "floor")
assert dataset[0]["data_samples"].gt_sem_seg.data.unique().tolist() == [0, 1, 2]
""",
    "A head": """
model = MODELS.build(Config.fromfile("configs/toys/toy_head_tiny_scenes.py").model).eval()
model.set_vocabulary(["red circle", "grass"])
with torch.no_grad():
    result = model.predict(torch.randn(1, 3, 192, 192))
assert result[0].pred_sem_seg.data.shape[-2:] == (192, 192)
""",
    "A converter": """
from hclip_mmseg.conversion import recognise, to_ours, to_published
state = {"blocks.0.w": torch.ones(2), "blocks.11.w": torch.zeros(2)}
ours = to_ours({"model": state})
assert recognise(state) == "toy" and list(ours["state_dict"]) == ["layers.0.weight", "layers.11.weight"]
back = to_published(ours)["model"]
assert list(back) == list(state) and all(torch.equal(back[name], state[name]) for name in state)
""",
}
RUN = """
import json, sys, traceback
from pathlib import Path
import numpy as np
import torch
import hclip_mmseg, hclip_mmseg.training_free
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
assert Path(hclip_mmseg.__file__).is_relative_to(Path.cwd())
found = {}
for recipe, check in json.loads(Path("checks.json").read_text()).items():
    init_default_scope("mmseg")
    try:
        exec(check, dict(globals()))
        found[recipe] = ""
    except Exception:
        found[recipe] = traceback.format_exc()
Path("found.json").write_text(json.dumps(found))
"""


def named_in(recipe: str) -> list[re.Pattern[str]]:
    """The files that a recipe names, with <name> and <method> for any word."""
    section = (REPOSITORY / "CONTRIBUTING.md").read_text().split(f"\n### {recipe}\n")[1].split("\n### ")[0]
    files = re.findall(r"^\d+\. `([^`]+)`:", section, re.MULTILINE)
    return [re.compile(re.sub("<[a-z]+>", r"\\w+", file.replace(".", r"\."))) for file in files]


@pytest.mark.parametrize("recipe", NEW)
def test_the_recipe_names_every_file(recipe):
    named = named_in(recipe)
    for file in NEW[recipe]:
        assert any(pattern.fullmatch(file) for pattern in named), f"{file} is not named"
    fixed = [pattern.pattern.replace("\\", "") for pattern in named if "w+" not in pattern.pattern]
    assert all((REPOSITORY / file).is_file() for file in fixed)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    """Recipe -> what went wrong, "" if nothing, each followed in one copy of the project."""
    copy = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns("__pycache__", ".mim", "*.log")
    for folder in ("hclip_mmseg", "configs"):
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", copy)
    for files in NEW.values():
        for file, change in files.items():
            follow(copy / file, change)
    (copy / "checks.json").write_text(json.dumps(CHECKS))
    paths = os.pathsep.join(map(str, (copy, REPOSITORY / "tests")))
    ended = subprocess.run(
        [sys.executable, "-c", RUN], cwd=copy, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads((copy / "found.json").read_text())


def follow(path: Path, change: str | tuple[tuple[str, str], ...]) -> None:
    if isinstance(change, str):
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_text(change)
        return
    text = path.read_text()
    for old, new in change:
        assert text.count(old) == 1, f"{path.name}: {old}"
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.parametrize("recipe", NEW)
def test_the_recipe_works(recipe, outcomes):
    assert not outcomes[recipe], outcomes[recipe]
