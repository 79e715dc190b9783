"""What a run needs, checked before any work: data folders, CLIP's weights, a checkpoint."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, OPTIMIZERS
from open_clip.pretrained import get_pretrained_cfg
from torch.compiler import list_backends

from hclip_mmseg.apis.data_files import missing_files
from hclip_mmseg.files.checkpoints import find_checkpoint, generator_files, no_generator
from hclip_mmseg.files.checkpoints import read_state_dict as read_state_dict  # older scripts have it from here
from hclip_mmseg.files.errors import InputError, one_line
from hclip_mmseg.files.near_names import did_you_mean
from hclip_mmseg.files.paths import PROJECT_ROOT, locate, looked_in
from hclip_mmseg.vocabularies import read_names

BACKEND_PACKAGES = {
    "TensorboardVisBackend": ("tensorboard", "tensorboardX"),
    "MLflowVisBackend": ("mlflow",),
    "WandbVisBackend": ("wandb",),
    "ClearMLVisBackend": ("clearml",),
    "NeptuneVisBackend": ("neptune",),
    "DVCLiveVisBackend": ("dvclive",),
    "AimVisBackend": ("aim",),
}
"""MMEngine's backends of a visualizer -> the packages of which each needs one."""
EXTRAS = ("tensorboard", "mlflow", "wandb")
"""Those that the package names as extras."""
GROUPS = ("env_cfg", "randomness", "default_hooks", "log_processor", "auto_scale_lr")
"""Keys at the top of a config that hold settings by name."""
WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


def check_run(cfg: Config, splits: Sequence[str]) -> None:
    """Check that everything a run reads is there, and complete its paths.

    Relative paths of data and weights are taken from the working directory, else from the project's folder; those
    of data are made absolute in `cfg` where the latter is meant, since MMSegmentation's datasets know the former alone.
    Class names that a data set's `metainfo.classes` gives as a file or a benchmark's name are read into `cfg`.

    Args:
        cfg: a config of MMSeg.
        splits: whose dataloaders will be used, of 'train', 'val', 'test'; with 'train' the data sets too that a
            training watches (``KeepHook``).

    Raises:
        FileNotFoundError: listing every thing that is missing, where it was looked for, and how to get it.
        ValueError: if training asks for an unknown optimizer, its rate or seed are no numbers, it has no length, a
            data set's class names are no list of names, its pipeline is empty, the model has no preprocessor, or
            `check_compile` refuses.
    """
    if "train" in splits:
        _check_training(cfg)
    for key in GROUPS:
        if cfg.get(key) is not None and not isinstance(cfg[key], Mapping):
            raise InputError(f"{key} holds settings by name, such as {key}.KEY=VALUE, and is {cfg[key]!r}")
    check_compile(cfg.get("compile"))
    testing = cfg.model.get("test_cfg")
    if isinstance(testing, Mapping):
        check_compile(testing.get("compile"), "model.test_cfg.compile")
    if "data_preprocessor" in cfg.model and not cfg.model.data_preprocessor:
        raise InputError("model.data_preprocessor is empty, and images have to be normalised as CLIP's were")
    missing = [*_missing_weights(cfg.model)]
    if "train" in splits:
        missing += _missing_generator(cfg.model)
    read = [(split, (cfg.get(f"{split}_dataloader") or {}).get("dataset")) for split in splits]
    if "train" in splits:
        hooks = [hook for hook in cfg.get("custom_hooks") or () if isinstance(hook, Mapping)]
        read += [("watched", hook["foreign"]) for hook in hooks if hook.get("foreign")]
    for split, outer in read:
        for dataset in innermost_datasets(outer):
            if dataset.get("pipeline") is not None and not dataset["pipeline"]:
                raise InputError(f"{split}_dataloader: the pipeline of {dataset.get('type')} has no steps")
            _read_classes(dataset)
            found = [*_missing_data(dataset), *missing_files(dataset, trains=split == "train")]
            missing += [problem for problem in found if problem not in missing]
    missing += _missing_packages(cfg)
    if missing:
        listed = "".join(f"\n  - {problem}" for problem in missing)
        raise FileNotFoundError(f"this run cannot start:{listed}")


def check_trains(cfg: Config) -> None:
    """Check that a config is of a training.

    Raises:
        ValueError: if it is not: what it lacks, and what it is for.
    """
    missing = [key for key in ("train_dataloader", "train_cfg", "optim_wrapper") if not cfg.get(key)]
    if missing:
        raise ValueError(
            f"{cfg.filename} is of no training, it has no {missing[0]}: use tools/test.py or tools/predict.py, which "
            "run models without training too"
        )


def _check_training(cfg: Config) -> None:
    optimizer = (cfg.get("optim_wrapper") or {}).get("optimizer") or {}
    kind = optimizer.get("type")
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        hint = did_you_mean(kind, OPTIMIZERS.parent.module_dict, nearness=0.4)
        raise ValueError(f"optim_wrapper.optimizer.type is '{kind}', and there is no such optimizer{hint}")
    rate = optimizer.get("lr")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or rate < 0):
        raise ValueError(f"optim_wrapper.optimizer.lr must be a number, at least 0, not {rate!r}")
    for key in ("max_iters", "max_epochs"):
        length = (cfg.get("train_cfg") or {}).get(key)
        if length is not None and not (isinstance(length, int) and length >= 1):
            raise ValueError(f"train_cfg.{key} must be a whole number, at least 1, not {length!r}")
    seed = (cfg.get("randomness") or {}).get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise ValueError(f"randomness.seed must be a whole number, or None for another one each time, not {seed!r}")


def check_compile(settings: Any, key: str = "compile") -> None:
    """Check what of a model is given to torch.compile.

    Args:
        settings: None or False for no compilation, True, or arguments of torch.compile.
        key: where they stand in the config: ``compile``, by which MMEngine compiles the training step, or the model's
            ``test_cfg.compile``.

    Raises:
        ValueError: if it is none of these, or the compiler that it asks for is not here.
    """
    if settings is None or settings is False:
        return
    known = [name for name in inspect.signature(torch.compile).parameters if name != "model"]
    if settings is not True and not isinstance(settings, Mapping):
        raise InputError(f"{key} must be True, False or settings such as {key}.backend, not {settings!r}")
    options: Mapping[str, Any] = {} if settings is True else settings
    for name, value in options.items():
        if name not in known:
            raise InputError(f"{key}.{name}: torch.compile has no such setting{did_you_mean(name, known)}")
        if name in ("fullgraph", "disable") and not isinstance(value, bool):
            raise InputError(f"{key}.{name} must be True or False, not {value!r}")
    backend = options.get("backend") or "inductor"
    if backend not in (backends := list_backends(exclude_tags=())):
        raise InputError(
            f"{key}.backend is {backend!r}, which torch does not have{did_you_mean(str(backend), backends)} "
            f"(it has {', '.join(list_backends())})"
        )
    if options.get("fullgraph") and key == "compile":
        raise InputError("compile.fullgraph: a training step takes several graphs; leave it out")
    if backend == "inductor" and not any(map(which, (os.environ.get("CXX") or "c++", "g++", "clang++", "cl"))):
        raise InputError(
            f"{key} needs a C++ compiler, and there is none: install g++, or set {key}.backend=aot_eager or {key}=False"
        )
    try:
        torch.compile(_unchanged, **options)
    except Exception as error:
        raise InputError(f"{key}: {one_line(error)[:200]}") from error


def _unchanged(value: Any) -> Any:
    return value


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


def take_generator_from_checkpoint(cfg: Config, names: Iterable[str]) -> None:
    """Do without the mask generator's file where it is missing and training starts from a checkpoint that holds it.

    Args:
        cfg: a config of MMSeg; `model.generator.init_cfg` is set to None then.
        names: of the tensors in the checkpoint that training goes on or starts from.
    """
    generator = cfg.model.get("generator") or {}
    lacking = [file for file in generator_files(generator.get("init_cfg")) if locate(file["checkpoint"]) is None]
    if lacking and any(name.startswith("generator.") for name in names):
        generator["init_cfg"] = None


def _missing_generator(model: Mapping[str, Any]) -> Iterator[str]:
    for file in generator_files((model.get("generator") or {}).get("init_cfg")):
        if locate(file["checkpoint"]) is None:
            yield no_generator(file["checkpoint"])
        else:
            file["checkpoint"] = str(find_checkpoint(file["checkpoint"]))


def _missing_packages(cfg: Config) -> Iterator[str]:
    backends = [*(cfg.get("vis_backends") or ()), *((cfg.get("visualizer") or {}).get("vis_backends") or ())]
    for kind in dict.fromkeys(str(backend["type"]).split(".")[-1] for backend in backends):
        packages = BACKEND_PACKAGES.get(kind)
        if packages and not any(find_spec(package) for package in packages):
            name = f"'hclip-mmseg[{packages[0]}]'" if packages[0] in EXTRAS else packages[0]
            yield f"the package {packages[0]}, by which {kind} of the config's visualizer writes: pip install {name}"


def _missing_weights(model: Mapping[str, Any]) -> Iterator[str]:
    clip = (model.get("backbone") or {}).get("clip") or {}
    for key in ("pretrained", "model"):
        path = clip.get(key)
        if not isinstance(path, str) or not path.endswith((*WEIGHT_SUFFIXES, ".json")):
            continue
        if locate(path) is None:
            what = "CLIP's weights" if key == "pretrained" else "CLIP's geometry"
            yield f"{what} {Path(path).name}: looked for at {looked_in(path)}. {_how_to_get(clip)}".rstrip()


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


def _read_classes(dataset: dict[str, Any]) -> None:
    """Read classes that are given as a text: MMEngine would take a file's lines, whatever its form, for names."""
    metainfo = dataset.get("metainfo") or {}
    if isinstance(metainfo.get("classes"), str):
        metainfo["classes"] = read_names(metainfo["classes"], repeats=True)


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
            what = "images" if key in ("img_path", "img") else "label maps" if key == "seg_map_path" else key
            state = "is empty" if path.is_dir() else "is missing"
            yield f"the {what} of {kind}: the folder {path} {state}. {how}".rstrip()
    if dataset.get("ann_file") and not (found / dataset["ann_file"]).is_file():
        yield f"the list of images of {kind}: {found / dataset['ann_file']} is missing. {how}".rstrip()
