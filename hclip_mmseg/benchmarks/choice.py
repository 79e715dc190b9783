"""Which benchmarks are asked for, where their data lies, and whether it is prepared."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS

from hclip_mmseg.apis.checks import innermost_datasets
from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.benchmarks import BENCHMARKS, find_benchmark, reads_same_data
from hclip_mmseg.files.near_names import did_you_mean
from hclip_mmseg.files.paths import locate, looked_in
from hclip_mmseg.vocabularies import styled_name

ALL, FOUND = "all", "found"
DATA = "data"  # the folder that the benchmarks' configs expect their data in
PARTS = ("test_dataloader", "test_evaluator")
OWN_PIPELINE, OF_ALL, TRANSFORMS = "test_dataloader.dataset.pipeline", "benchmark_pipeline", "benchmark_transforms"
OF_DATASETS = "benchmark_datasets"
RESIZES = ("Resize", "PublishedResize")


@dataclass(frozen=True)
class ReadyBenchmark:
    """A benchmark that can be run.

    Attributes:
        benchmark: its entry.
        dataloader, evaluator: settings for MMEngine, with the data's real place.
        settings: what its result depends on, whatever the place: dataset and evaluator as the config has them, and
            which images and label maps there are (``data``).
    """

    benchmark: Benchmark
    dataloader: dict[str, Any]
    evaluator: Any
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the benchmark."""
        return self.benchmark.name


def choose(words: Sequence[str], data_root: str | Path | None = None, panoptic: bool = True) -> tuple[Benchmark, ...]:
    """The benchmarks that words of the command line mean, each once.

    Args:
        words: names in any spelling, see ``find_benchmark``; or 'all' alone; or 'found' alone, for those whose data
            is prepared.
        data_root: the folder of all data; None is ``data`` in the working directory, else in the project.
        panoptic: whether the model gives panoptic results; for one that does not, 'all' and 'found' leave out the
            benchmarks that want them.

    Raises:
        KeyError: if a name is unknown.
        ValueError: if 'all' or 'found' do not stand alone, or a benchmark wants what the model does not give.
        FileNotFoundError: if 'found' finds nothing.
    """
    for word in (ALL, FOUND):
        if word in words and set(words) != {word}:
            raise ValueError(f"--benchmarks {' '.join(words)}: '{word}' stands alone, without names")
    possible = [benchmark for benchmark in BENCHMARKS.values() if panoptic or not benchmark.panoptic]
    if ALL in words:
        return tuple(possible)
    if FOUND in words:
        found = tuple(benchmark for benchmark in possible if problem_of(benchmark, data_root) is None)
        if not found:
            raise FileNotFoundError(f"no benchmark's data was found:\n{survey(data_root)}")
        return found
    return tuple(dict.fromkeys(_named(word, possible) for word in words))


def _named(word: str, possible: Sequence[Benchmark]) -> Benchmark:
    if Path(word).suffix in (".py", ".pth"):
        raise ValueError(f"--benchmarks was given {word}: CONFIG and CHECKPOINT come before --benchmarks NAME ...")
    benchmark = find_benchmark(word)
    if benchmark is None:
        hint = did_you_mean(word, BENCHMARKS, nearness=0.5)
        raise KeyError(f"no benchmark '{word}'{hint} (there are: {', '.join(BENCHMARKS)}, or 'all', or 'found')")
    if benchmark not in possible:
        raise ValueError(
            f"{benchmark.name} asks for panoptic results, and this model gives none: leave it out, or take a config of "
            "configs/fisa/ or configs/maft_plus/"
        )
    return benchmark


def root_of(benchmark: Benchmark, data_root: str | Path | None = None) -> tuple[Path | None, str]:
    """The benchmark's folder, None if it is not there; and where it was looked for, as a message says it."""
    path = Path(benchmark.data_root)
    if data_root is not None:
        inside = path.parts[1:] if path.parts[0] == DATA else path.parts
        path = Path(data_root).expanduser().joinpath(*inside).absolute()
    return locate(path), looked_in(path)


def problem_of(benchmark: Benchmark, data_root: str | Path | None = None) -> str | None:
    """Why a benchmark cannot be run, and what to do; None if its data is prepared."""
    root, places = root_of(benchmark, data_root)
    if root is None:
        problem, folder = f"looked for a folder {places}", Path(benchmark.data_root).as_posix()
    else:
        missing = benchmark.missing(root)
        if not missing:
            return None
        problem, folder = f"not prepared: {', '.join(map(str, missing))} is missing", str(root)
    return f"{benchmark.name}: {problem}. See python tools/prepare_dataset.py {benchmark.preparation} --root {folder}"


def survey(data_root: str | Path | None = None) -> str:
    """One line a benchmark: where its prepared data was found, or why not."""
    lines = []
    for benchmark in BENCHMARKS.values():
        problem = problem_of(benchmark, data_root)
        lines.append(f"  - {problem}" if problem else f"  + {benchmark.name}: {root_of(benchmark, data_root)[0]}")
    return "\n".join(lines)


def ready(
    benchmarks: Sequence[Benchmark],
    data_root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    wishes: Mapping[str, Any] | None = None,
) -> tuple[ReadyBenchmark, ...]:
    """Benchmarks with their settings; every image's label map is known to be there.

    Args:
        benchmarks: which.
        data_root: see :func:`choose`.
        options: settings that replace those of every benchmark, such as {'test_dataloader.num_workers': 8};
            of others than ``test_dataloader`` and ``test_evaluator`` no notice is taken.
        wishes: a model's config. Its ``test_dataloader`` and ``test_evaluator`` hold for the benchmark that has the
            same data. Its ``benchmark_pipeline`` takes the place of other benchmarks' pipelines, but for a loader that
            a benchmark has for a reason (reduced copies). Its ``benchmark_transforms``, such as a ``Resize``, are done
            to an image once it is loaded, before its labels are, in place of a benchmark's own resizing; a list for
            all benchmarks, or a dict of lists by benchmark with 'default' for the others. Where ``benchmark_pipeline``
            has a transform of the same type, that stands.
            Its ``benchmark_style``, such as 'fc-clip', is the method whose published class lists models are asked by,
            where it has one of its own. Its ``benchmark_datasets`` changes single benchmarks' data sets, such as
            ``{"VOC21": dict(type="mmseg.PascalVOC21OutlinesIgnoredDataset")}``, for a method that counts labels in its
            own way.

    Raises:
        FileNotFoundError: listing every benchmark whose data is missing or not prepared, and what to do.
        ValueError: if a data set cannot be read, or options change a pipeline that ``benchmark_pipeline`` replaces.
    """
    problems = [problem for problem in (problem_of(benchmark, data_root) for benchmark in benchmarks) if problem]
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise FileNotFoundError(f"these benchmarks cannot be run:{listed}")
    _check_pipeline_options(options or {}, wishes or {})
    chosen = []
    for benchmark in benchmarks:
        settled = settle(benchmark, data_root, options, wishes)
        chosen.append(replace(settled, settings={**settled.settings, "data": read_images(settled)}))
    return tuple(chosen)


def _check_pipeline_options(options: Mapping[str, Any], wishes: Mapping[str, Any]) -> None:
    steps = [key for key in options if key.startswith(OWN_PIPELINE)]
    if steps and OF_ALL in wishes and not any(key.startswith(OF_ALL) for key in options):
        raise ValueError(
            f"{steps[0]} changes the config's own test data alone, as the model brings a pipeline for all others; give "
            f"{steps[0].replace(OWN_PIPELINE, OF_ALL)} too"
        )


def settle(
    benchmark: Benchmark,
    data_root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    wishes: Mapping[str, Any] | None = None,
) -> ReadyBenchmark:
    """A benchmark's settings for a model; its data need not be there. Arguments as in :func:`ready`."""
    wishes = wishes or {}
    cfg = Config.fromfile(benchmark.config_path)
    cfg.merge_from_dict({key: value for key, value in (options or {}).items() if key.split(".")[0] in PARTS})
    root = root_of(benchmark, data_root)[0]
    dataloader, evaluator = (cfg.to_dict()[part] for part in PARTS)
    if has_data_of(wishes, dataloader):
        dataloader, evaluator = (copy.deepcopy(wishes[part]) for part in PARTS)
    else:
        for dataset in innermost_datasets(dataloader["dataset"]):
            dataset["pipeline"] = pipeline_for(dataset["pipeline"], benchmark.name, wishes)
            asked = styled_name(benchmark.vocabulary, wishes.get("benchmark_style"))
            if asked != benchmark.vocabulary:
                dataset["vocabulary"] = asked
            dataset.update((wishes.get(OF_DATASETS) or {}).get(benchmark.name, {}))
    if not dataloader.get("num_workers"):
        dataloader["persistent_workers"] = False  # torch refuses them where there are none
    settings = dict(dataset=dataloader["dataset"], evaluator=evaluator)
    place = (Path(benchmark.data_root).as_posix(), str(root or benchmark.data_root))
    return ReadyBenchmark(benchmark, _moved(dataloader, *place), _moved(evaluator, *place), settings)


def has_data_of(wishes: Mapping[str, Any], dataloader: Mapping[str, Any]) -> bool:
    """Whether the ``test_dataloader`` of a model's config reads the data that another reads."""
    own, other = (wishes.get(PARTS[0]) or {}).get("dataset") or {}, dataloader["dataset"]
    return "type" in own and own.get("data_root") == other.get("data_root") and reads_same_data(own, other)


def pipeline_for(pipeline: Sequence[dict[str, Any]], name: str, wishes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pipeline by which a model reads a benchmark.

    Args:
        pipeline: the benchmark's own.
        name: of the benchmark.
        wishes: the model's config; see :func:`ready`.
    """
    transforms = wishes.get(TRANSFORMS)
    if isinstance(transforms, Mapping):
        transforms = transforms.get(name, transforms.get("default"))
    load, *rest = pipeline
    if wishes.get(OF_ALL):
        own_load, *rest = wishes[OF_ALL]
        load = own_load if _kind(load) == "LoadImageFromFile" else load
        kinds = set(map(_kind, rest))
        transforms = [step for step in transforms or () if _kind(step) not in kinds]
    elif transforms is not None:
        rest = [step for step in rest if _kind(step) not in RESIZES]
    return [load, *(transforms or ()), *rest]


def _kind(step: Mapping[str, Any]) -> str:
    """The type of a transform without the scope or module that it may be named with."""
    return str(step["type"]).split(".")[-1]


def _moved(settings: Any, old: str, new: str) -> Any:
    """The settings with every path into the folder ``old`` leading into ``new``."""
    if isinstance(settings, Mapping):
        return {key: _moved(value, old, new) for key, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return type(settings)(_moved(value, old, new) for value in settings)
    if isinstance(settings, str) and (settings == old or settings.startswith(f"{old}/")):
        return new + settings[len(old) :]
    return settings


def read_images(chosen: ReadyBenchmark) -> dict[str, Any]:
    """How many images there are, and a digest of their names and of the sizes of their label maps' files."""
    names = []
    for settings in innermost_datasets(chosen.dataloader["dataset"]):
        try:
            with DefaultScope.overwrite_default_scope(chosen.benchmark.scope):
                dataset = DATASETS.build(settings)
        except (AssertionError, OSError, ValueError, KeyError) as error:
            raise ValueError(f"the data of {chosen.name} cannot be read: {error or type(error).__name__}") from error
        if len(dataset) == 0:
            raise ValueError(f"{chosen.name}: no images in {settings.get('data_root')}")
        for index in range(len(dataset)):
            entry = dataset.get_data_info(index)
            path = entry.get("seg_map_path")
            if path is not None and not Path(path).is_file():
                raise FileNotFoundError(
                    f"{chosen.name}: the label map {path} is missing. Prepare the data again: "
                    f"python tools/prepare_dataset.py {chosen.benchmark.preparation}"
                )
            size = "" if path is None else Path(path).stat().st_size
            names.append(f"{Path(entry.get('img_path', '')).name} {size}")
    return dict(images=len(names), digest=hashlib.sha256("\n".join(names).encode()).hexdigest()[:16])
