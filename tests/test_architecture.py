"""Where things live: which folders may import which, and what stands in one place only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
from miniature import REPOSITORY

PACKAGE = REPOSITORY / "hclip_mmseg"
LAYERS = (
    ("ablation", "benchmarks", "costs", "demo"),
    ("apis",),
    ("zoo",),
    ("conversion", "export"),
    ("detection", "mask_classification", "training_free"),
    ("reference",),
    ("engine",),
    ("models", "evaluation"),
    ("datasets",),
    ("results",),
    ("visualization",),
    ("demo_assets",),
    ("clip",),
    ("adapters",),
    ("vocabularies",),
    ("files",),
    ("compat",),
)
"""Folders of the package, top first; a folder imports from its own row and from lower ones."""
HEIGHT = {folder: -row for row, folders in enumerate(LAYERS) for folder in folders}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if ".mim" not in path.parts)


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def folder_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[tuple[str, str], ...]:
    """(module, name) of every import, those in functions too; name "" where the module itself is imported."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: imports name the package"
            found += ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            found += ((alias.name, "") for alias in node.names)
    return tuple(found)


def own_folders(path: Path) -> set[str]:
    """The package's folders that a module imports from."""
    found = ((*module.split("."), name)[:2] for module, name in imports(path))
    return {folder for package, folder in found if package == PACKAGE.name and folder in HEIGHT}


def packages(path: Path) -> set[str]:
    return {module.split(".")[0] for module, _ in imports(path)}


def test_every_folder_has_its_row():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} <= set(HEIGHT)


def arrows() -> set[tuple[str, str]]:
    """(folder, folder that it imports from)."""
    within = [path for path in MODULES if folder_of(path) in HEIGHT]
    return {(folder_of(path), folder) for path in within for folder in own_folders(path) - {folder_of(path)}}


def test_imports_go_down():
    assert ("models", "clip") in arrows()
    assert not {(own, other) for own, other in arrows() if HEIGHT[other] > HEIGHT[own]}


def test_there_are_no_circles():
    imported: dict[str, set[str]] = {}
    for own, other in arrows():
        imported.setdefault(own, set()).add(other)
    TopologicalSorter(imported).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("folder", ["adapters", "clip"])
def test_plain_torch(folder):
    for path in (PACKAGE / folder).rglob("*.py"):
        assert not packages(path) & {"mmengine", "mmcv", "mmseg", "mmdet"}, name_of(path)


def test_models_and_datasets_do_not_know_each_other():
    for path in MODULES:
        assert not (folder_of(path) == "models" and "datasets" in own_folders(path)), name_of(path)
        assert not (folder_of(path) == "datasets" and "models" in own_folders(path)), name_of(path)


def test_private_names_stay_in_their_module():
    scripts = sorted((REPOSITORY / "tools").rglob("*.py"))
    private = [
        (name_of(path), f"{module}.{name}")
        for path in (*MODULES, *scripts)
        for module, name in imports(path)
        if module.split(".")[0] in (PACKAGE.name, "hclip_tools") and re.search(r"(^|\.)_(?!_)", f"{module}.{name}")
    ]
    assert not private


def test_mmdetections_registries_hold_what_its_models_alone_use():
    """The rule of CONTRIBUTING.md."""
    of_mmdet = {folder_of(path) for path in MODULES if registers_in(path, "mmdet")}
    assert of_mmdet == {"detection", "mask_classification", "datasets"}
    data = {path.stem for path in (PACKAGE / "datasets").rglob("*.py") if registers_in(path, "mmdet")}
    detectors_own = {"ov_coco", "scene_detection"}
    assert data == {*detectors_own, "detection_images"}, "benchmarks are registered in mmseg's scope"


def registers_in(path: Path, scope: str) -> bool:
    return f"from {scope}.registry import" in path.read_text() and "register_module" in path.read_text()


# ---- what was written several times


def definitions(name: str) -> list[str]:
    return [
        name_of(path)
        for path in MODULES
        for node in parsed(path).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name
    ]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("Held", "adapters/held.py"),
        ("AdaptedTower", "clip/adapted_tower.py"),
        ("OpenVocabModel", "models/open_vocab_model.py"),
        ("CLIPBackbone", "models/clip_backbone.py"),
        ("OpenVocabDecodeHead", "models/decode_heads/open_vocab_decode_head.py"),
        ("CostAggregator", "models/cost_aggregation/aggregator.py"),
        ("read_state_dict", "files/checkpoints.py"),
        ("compare", "files/state_dicts.py"),
        ("label_outside", "vocabularies/labels.py"),
        ("check_labels", "vocabularies/labels.py"),
        ("read_vocabulary", "vocabularies/names.py"),
        ("as_vocabulary", "vocabularies/vocabulary.py"),
        ("canonical_name", "vocabularies/aliases.py"),
        ("resized", "models/score_maps.py"),
        ("best_class", "models/score_maps.py"),
        ("renamed", "conversion/kind.py"),
        ("find_benchmark", "datasets/benchmarks.py"),
        ("printed_figures", "evaluation/printed_figures.py"),
        ("default_work_dir", "apis/launch.py"),
        ("near_names", "files/near_names.py"),
        ("ResultFilesHook", "visualization/result_files.py"),
        ("did_you_mean", "files/near_names.py"),
    ],
)
def test_one_place(name, place):
    assert definitions(name) == [f"hclip_mmseg/{place}"]


def holding(pattern: str, *folders: str) -> list[str]:
    """The modules below these folders of the repository whose code matches a pattern."""
    paths = (path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py")))
    return [name_of(path) for path in paths if re.search(pattern, path.read_text(encoding="utf-8"))]


def test_what_is_computed_from_weights_is_remembered_by_held_alone():
    assert holding(r"\._version\b", "hclip_mmseg") == ["hclip_mmseg/adapters/held.py"]


def test_names_are_compared_in_one_place():
    assert holding(r"\bdifflib import|did you mean", "hclip_mmseg") == ["hclip_mmseg/files/near_names.py"]


def test_capabilities_are_declared():
    """A benchmark, or what freezes parts, asks a model for what `OpenVocabModel` and `CLIPBackbone` declare."""
    asks = holding(r"\b(getattr|hasattr)\([\w.]*(model|backbone)\b", "hclip_mmseg")
    assert not [name for name in asks if name.startswith(("hclip_mmseg/benchmarks/", "hclip_mmseg/models/frozen"))]


def test_an_older_heads_arguments_are_the_aggregators():
    """Neither the head nor a config repeats them: each stands in the signature of `CostAggregator` alone."""
    head = (PACKAGE / "models/decode_heads/cost_aggregation_head.py").read_text(encoding="utf-8")
    assert "appearance_dim" not in head and "decoder_channels" not in head


def test_where_modules_are_found_is_nobodys_business():
    assert not holding(r"\bsys\.path\b", "tools", "tests")


def test_tools_hold_arguments_and_one_call_each():
    scripts = (REPOSITORY / "tools").glob("*.py")
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in scripts) < 1200


def test_no_two_modules_of_tests_have_one_name():
    """pytest imports them by their file's name alone."""
    names = [path.name for path in (REPOSITORY / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_files_and_functions_are_short():
    for path in MODULES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, name_of(path)
        functions = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef)]
        long = [node.name for node in functions if node.end_lineno - node.lineno >= 60]
        assert not long, name_of(path)


def test_kinds_of_checkpoints_are_told_apart_by_their_table_alone():
    for path in (PACKAGE / "conversion").glob("*.py"):
        assert not re.search(r"\bkind(\.name)? (==|!=|in) [(\"']", path.read_text()), name_of(path)


@pytest.mark.parametrize("runtime", sorted((REPOSITORY / "configs/_base_").glob("*_runtime.py")), ids=lambda p: p.stem)
def test_runtimes_say_what_differs_from_the_default(runtime):
    if runtime.stem == "default_runtime":
        return
    default, own = variables(runtime.with_name("default_runtime.py")), variables(runtime)
    assert own.pop("_base_") == ["./default_runtime.py"]
    assert not list(repeated(own, default))


def variables(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(compile(path.read_text(), path, "exec"), found)
    return {name: value for name, value in found.items() if name != "__builtins__"}


def repeated(own: Mapping[str, Any], default: Mapping[str, Any], where: str = "") -> Iterator[str]:
    for key, value in own.items():
        if isinstance(value, Mapping) and isinstance(default.get(key), Mapping):
            if key != "custom_imports":  # MMEngine imports them as they are read: a list that is complete
                yield from repeated(value, default[key], f"{where}{key}.")
        elif key in default and value == default[key]:
            yield f"{where}{key}"


def test_figures_of_a_paper_stand_in_one_config():
    """A benchmark of one model is chosen by --benchmarks: configs that differ by their data alone hold no figures."""
    for path in (REPOSITORY / "configs/cliptrase").glob("cliptrase_vitb16_*_*.py"):
        assert "paper" not in path.read_text(), name_of(path)
