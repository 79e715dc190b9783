"""What a run needs, checked before any work: data folders, CLIP's weights, a checkpoint."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmseg.registry import DATASETS, OPTIMIZERS
from open_clip.pretrained import get_pretrained_cfg
from torch import Tensor, nn

from .paths import PROJECT_ROOT, locate, looked_in

WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


def check_run(cfg: Config, splits: Sequence[str]) -> None:
    """Check that everything a run reads is there, and complete its paths.

    Relative paths of data and weights are taken from the working directory, else from the project's folder;
    they are made absolute in `cfg` where the latter is meant.

    Args:
        cfg: a config of MMSeg.
        splits: whose dataloaders will be used, of 'train', 'val', 'test'.

    Raises:
        FileNotFoundError: listing every thing that is missing, where it was looked for, and how to get it.
        ValueError: if training asks for an unknown optimizer.
    """
    if "train" in splits:
        _check_optimizer(cfg)
    missing = [*_missing_weights(cfg.model)]
    if "train" in splits:
        missing += _missing_generator(cfg.model)
    for split in splits:
        for dataset in innermost_datasets((cfg.get(f"{split}_dataloader") or {}).get("dataset")):
            missing += [problem for problem in _missing_data(dataset) if problem not in missing]
    if missing:
        listed = "".join(f"\n  - {problem}" for problem in missing)
        raise FileNotFoundError(f"this run cannot start:{listed}")


def _check_optimizer(cfg: Config) -> None:
    kind = ((cfg.get("optim_wrapper") or {}).get("optimizer") or {}).get("type")
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        near = get_close_matches(kind, OPTIMIZERS.parent.module_dict, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"optim_wrapper.optimizer.type is '{kind}', and there is no such optimizer{hint}")


def take_clip_from_checkpoint(cfg: Config) -> None:
    """Do without CLIP's weights file where it is missing: a checkpoint of the whole model holds CLIP too.

    Args:
        cfg: a config of MMSeg; `model.backbone.clip.pretrained` is set to None if its file is not there.
    """
    clip = (cfg.model.get("backbone") or {}).get("clip") or {}
    path = clip.get("pretrained")
    if isinstance(path, str) and path.endswith(WEIGHT_SUFFIXES) and locate(path) is None:
        if clip.get("quick_gelu") is None and _url_of_openai(clip):
            clip["quick_gelu"] = True  # which the file itself would have said
        clip["pretrained"] = None


def take_generator_from_checkpoint(cfg: Config, checkpoint: str | Path) -> None:
    """Do without the mask generator's file where it is missing and training starts from a checkpoint that holds it.

    Args:
        cfg: a config of MMSeg; `model.generator.init_cfg` is set to None then.
        checkpoint: that training goes on or starts from.

    Raises:
        FileNotFoundError, ValueError: as `read_state_dict`.
    """
    generator = cfg.model.get("generator") or {}
    lacking = [one for one in generator_files(generator.get("init_cfg")) if locate(one["checkpoint"]) is None]
    if lacking and any(name.startswith("generator.") for name in read_state_dict(checkpoint)):
        generator["init_cfg"] = None


def generator_files(init_cfg: Any) -> list[dict[str, Any]]:
    """Those of a mask generator's settings of its start that name a checkpoint's file, and no place in the network."""
    settings = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    return [one for one in settings if "://" not in (one.get("checkpoint") or "://")]


def no_generator(path: str) -> str:
    """What is said where a mask generator's checkpoint is not there."""
    return (
        f"the proposals' checkpoint {Path(path).name} is not there: looked for at {looked_in(path)}. MMDetection's "
        "model zoo has Mask2Former for COCO panoptic, configs/fisa/proposals_tiny_scenes.py trains that of the scenes; "
        "model.generator.init_cfg=None starts from random weights"
    )


def _missing_generator(model: Mapping[str, Any]) -> Iterator[str]:
    for one in generator_files((model.get("generator") or {}).get("init_cfg")):
        if locate(one["checkpoint"]) is None:
            yield no_generator(one["checkpoint"])
        else:
            one["checkpoint"] = str(find_checkpoint(one["checkpoint"]))


def _missing_weights(model: Mapping[str, Any]) -> Iterator[str]:
    clip = (model.get("backbone") or {}).get("clip") or {}
    for key in ("pretrained", "model"):
        path = clip.get(key)
        if not isinstance(path, str) or not path.endswith((*WEIGHT_SUFFIXES, ".json")):
            continue
        found = locate(path)
        if found is None:
            what = "CLIP's weights" if key == "pretrained" else "CLIP's geometry"
            yield f"{what} {Path(path).name}: looked for at {looked_in(path)}. {_how_to_get(clip)}".rstrip()
        elif PROJECT_ROOT in found.parents:
            clip[key] = str(found)


def _url_of_openai(clip: Mapping[str, Any]) -> str | None:
    """Where the weights come from if their file is called as OpenAI's of that model; else None."""
    name = clip.get("model")
    url = get_pretrained_cfg(name, "openai").get("url") if isinstance(name, str) else None
    return url if url and Path(url).name == Path(str(clip.get("pretrained"))).name else None


def _how_to_get(clip: Mapping[str, Any]) -> str:
    url = _url_of_openai(clip)
    if url is None:
        return ""
    other = "set model.backbone.clip.pretrained=openai to let open_clip download it"
    return f"Get it from {url}, or {other}"


def innermost_datasets(config: Any) -> Iterator[dict[str, Any]]:
    """The innermost datasets of wrappers such as ConcatDataset and RepeatDataset."""
    if not config:
        return
    inner = config.get("datasets") or ([config["dataset"]] if "dataset" in config else None)
    if inner is None:
        yield config
        return
    for dataset in inner:
        yield from innermost_datasets(dataset)


def _missing_data(dataset: dict[str, Any]) -> Iterator[str]:
    root = dataset.get("data_root")
    if not root:
        return
    kind = dataset.get("type")
    how = getattr(DATASETS.get(kind) if isinstance(kind, str) else kind, "HOW_TO_GET", "")
    found = locate(root)
    if found is None:
        yield f"the data of {kind}: looked for a folder {looked_in(root)}. {how}".rstrip()
        return
    if PROJECT_ROOT in found.parents:
        dataset["data_root"] = str(found)
    for key, folder in (dataset.get("data_prefix") or {}).items():
        path = found / (folder or "")
        if not path.is_dir() or not any(path.iterdir()):
            what = "pictures" if key in ("img_path", "img") else "label maps" if key == "seg_map_path" else key
            state = "is empty" if path.is_dir() else "is missing"
            yield f"the {what} of {kind}: the folder {path} {state}. {how}".rstrip()
    if dataset.get("ann_file") and not (found / dataset["ann_file"]).is_file():
        yield f"the list of pictures of {kind}: {found / dataset['ann_file']} is missing. {how}".rstrip()


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint file that a path means.

    Raises:
        FileNotFoundError: if there is none, with the places where it was looked for.
        ValueError: if it is no complete checkpoint.
    """
    found = locate(path)
    if found is None or not found.is_file():
        raise FileNotFoundError(
            f"no checkpoint {Path(path).name}: looked for at {looked_in(path)}. "
            "Training writes checkpoints into its --work-dir"
        )
    if not zipfile.is_zipfile(found):  # torch has written zip archives since 1.6; a cut one has no directory
        try:
            torch.load(found, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 (what is no pickle fails in any way)
            size = found.stat().st_size
            raise ValueError(f"{found} ({size:,} bytes) is no checkpoint, or a truncated one") from error
    return found


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint of MMEngine, or a bare state dict.

    Raises:
        FileNotFoundError, ValueError: as `find_checkpoint`, or if there are no tensors in it.
    """
    found = find_checkpoint(path)
    try:
        loaded = CheckpointLoader.load_checkpoint(str(found), map_location="cpu", logger="silent")
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{found} cannot be read as a checkpoint: {error}") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{found} holds no model: it must have a 'state_dict' of tensors")
    return {name.removeprefix("module."): value for name, value in state.items()}


def check_fits(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that a state dict is this model's, name for name and shape for shape.

    Raises:
        ValueError: saying what lacks, what is left over and what has another shape.
    """
    expected = model.state_dict()
    wrong = [
        f"{name} is {list(state[name].shape)} there and {list(tensor.shape)} in the model"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    lacks = [name for name in expected if name not in state]
    extra = [name for name in state if name not in expected]
    problems = []
    if wrong:
        problems.append(f"{len(wrong)} tensors have another shape ({_first(wrong)}): is it of another CLIP?")
    adapters = [name for name in lacks if ".adapter." in name]
    if adapters:
        which = _first(adapters)
        problems.append(f"it lacks the adapters ({which}); for plain CLIP set model.backbone.adapter=None")
    others = [name for name in lacks if name not in adapters]
    if others:
        problems.append(f"it lacks {len(others)} other tensors ({_first(others)})")
    if extra:
        problems.append(f"it has {len(extra)} tensors that the model does not ({_first(extra)})")
    if problems:
        raise ValueError(f"the checkpoint {source} does not fit the model: {'; '.join(problems)}")


def check_start(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that training can start from a state dict, which may lack parts, such as adapters, and have others.

    Raises:
        ValueError: if tensors of the same name have other shapes, or no name is the model's.
    """
    expected = model.state_dict()
    common = [name for name in expected if name in state]
    wrong = [
        f"{name} is {list(state[name].shape)} there and {list(expected[name].shape)} in the model"
        for name in common
        if state[name].shape != expected[name].shape
    ]
    if not common:
        raise ValueError(
            f"load_from {source} has none of the model's tensors (it has {_first(list(state))}; the model has "
            f"{_first(list(expected))})"
        )
    if wrong:
        raise ValueError(
            f"load_from {source}: {len(wrong)} tensors have another shape ({_first(wrong)}): is it of another CLIP?"
        )


def check_resumable(path: str | Path) -> None:
    """Check that a checkpoint says where its training stood.

    Raises:
        FileNotFoundError, ValueError: as `find_checkpoint`, or if it holds a model alone.
    """
    found = find_checkpoint(path)
    loaded = CheckpointLoader.load_checkpoint(str(found), map_location="cpu", logger="silent")
    lacks = [key for key in ("meta", "message_hub", "optimizer") if key not in loaded]
    if lacks:
        raise ValueError(
            f"training cannot be resumed from {found}: it lacks {', '.join(lacks)}; to start from its weights set "
            f"--cfg-options load_from={path}"
        )


def _first(items: Sequence[str], count: int = 2) -> str:
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")
