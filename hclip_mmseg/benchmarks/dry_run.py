"""What a test on benchmarks would do, told without weights, without a forward pass and without the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS

from hclip_mmseg.apis import launch
from hclip_mmseg.apis.checks import innermost_datasets
from hclip_mmseg.apis.opening import config_path
from hclip_mmseg.apis.settings import merge_settings
from hclip_mmseg.benchmarks.choice import ReadyBenchmark, choose, problem_of, read_images, root_of, settle
from hclip_mmseg.benchmarks.command import gives_panoptic
from hclip_mmseg.clip import resolve_templates
from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.published_resize import use_resize
from hclip_mmseg.evaluation.printed_figures import measured_as, printed_figures
from hclip_mmseg.vocabularies import Vocabulary, load_vocabulary

HANDLED = ("LoadLabelMap", "LoadAnnotations", "LoadPanopticSegments", "PackSegInputs", "PackDetInputs")
"""Transforms that leave an image as it is."""
METRIC_RULES = {
    "mIoU": "mIoU: a class that is predicted but never labelled counts as 0",
    "mIoU_labelled": "mIoU: classes that are never labelled are left out",
    "mAcc": "mAcc: the mean over labelled classes",
    "mAcc_all": "mAcc: the mean over all classes, 0 for those that are never labelled",
}


def plan(
    cfg: Config,
    words: Sequence[str],
    data_root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[dict[str, str]]:
    """What would be evaluated, and how, for each benchmark.

    Args:
        cfg: a model's config as its file has it.
        words: names of benchmarks, or 'all', or 'found'.
        data_root: the folder of all data; it need not be there.
        options: settings of the command line; those of ``test_dataloader`` and ``test_evaluator`` hold for each.

    Returns:
        For each benchmark a text under 'benchmark', 'files', 'images', 'classes', 'vocabulary', 'prompts', 'image',
        'views', 'metric', 'printed', 'background' and 'ignored'.

    Raises:
        KeyError, ValueError, FileNotFoundError: for names that mean no benchmark, or data that cannot be read.
    """
    return [
        _plan_one(cfg, settle(benchmark, data_root, options, cfg.to_dict()), data_root)
        for benchmark in choose(words, data_root, gives_panoptic(cfg))
    ]


def plan_of_test(
    config: str,
    benchmarks: Sequence[str],
    data_root: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resize: str = "published",
) -> str:
    """What ``hclip-test --benchmarks`` would do, as text: a block of lines for each benchmark.

    Args:
        config: path of a config, or a name that ``hclip-models`` lists.
        benchmarks, data_root: see `plan`.
        settings: that replace the config's.
        resize: 'published' or 'direct'; see :func:`~hclip_mmseg.datasets.published_resize.use_resize`.

    Raises:
        FileNotFoundError, KeyError, ValueError: if there is no such config, or as `plan` raises.
    """
    cfg = launch.read_config(config_path(config), ["model"])
    merge_settings(cfg, settings or {})
    use_resize(cfg, resize)
    return show(plan(cfg, benchmarks, data_root, settings))


def show(plans: Sequence[Mapping[str, str]]) -> str:
    """Plans as text: a block of lines for each benchmark."""
    width = max((len(key) for entry in plans for key in entry), default=0)
    blocks = ("\n".join(f"{key:<{width}}  {text}" for key, text in entry.items()) for entry in plans)
    return "\n\n".join(blocks)


def _plan_one(cfg: Config, settled: ReadyBenchmark, data_root: str | Path | None) -> dict[str, str]:
    benchmark, settings = settled.benchmark, cfg.to_dict()
    dataset = next(iter(innermost_datasets(settled.dataloader["dataset"])))
    name = dataset.get("vocabulary") or benchmark.vocabulary
    problem = problem_of(benchmark, data_root)
    unread = _without_files(dataset, benchmark)
    own = load_vocabulary(benchmark.vocabulary)
    return {
        "benchmark": benchmark.name,
        "files": problem.partition(": ")[2] if problem else str(root_of(benchmark, data_root)[0]),
        "images": "not known without the data" if problem else str(read_images(settled)["images"]),
        "classes": str(len(own.classes)),
        "vocabulary": _vocabulary_text(load_vocabulary(name), own, settings.get("benchmark_style")),
        "prompts": _prompts_text(settings["model"].get("text_encoder") or {}, gives_panoptic(cfg)),
        "image": _image_text(dataset["pipeline"]),
        "views": _views_text(settings["model"]),
        "metric": _metric_text(settled.evaluator, settings.get("benchmark_style")),
        "printed": _printed_text(settings.get("paper"), benchmark.name),
        "background": _background_text(unread, load_vocabulary(name)),
        "ignored": _ignored_text(unread),
    }


def _without_files(dataset: Mapping[str, Any], benchmark: Benchmark) -> Any:
    """The data set, which reads nothing."""
    settings = {**dataset, "pipeline": [], "lazy_init": True}
    if not benchmark.panoptic:
        # MMSegmentation asks of some sets at once whether there is a list and a folder; neither is read
        settings |= dict(data_root=None, ann_file=__file__, data_prefix=dict(img_path=".", seg_map_path="."))
    with DefaultScope.overwrite_default_scope(benchmark.scope):
        return DATASETS.build(settings)


def _vocabulary_text(vocabulary: Vocabulary, own: Vocabulary, style: str | None) -> str:
    text = vocabulary.name
    if vocabulary.name != own.name:
        before = own.titles if len(own.titles) == len(vocabulary.titles) else own.classes
        changed = sum(old != new for old, new in zip(before, vocabulary.titles, strict=True))
        text += f" ({changed} of {len(before)} entries changed)"
    elif style is not None:
        text += f" ({style} has none of its own)"
    names = len(vocabulary.asked)
    return text if names == len(own.classes) else f"{text}; {names} entries are asked for"


def _prompts_text(text_encoder: Mapping[str, Any], all_names: bool) -> str:
    templates = resolve_templates(text_encoder.get("templates", "scene"))
    shown = f"'{templates[0]}'" if len(templates) == 1 else f"{len(templates)} templates"
    if len(templates) > 1:
        shown += ", averaged" if text_encoder.get("average", True) else ", kept apart"
    if all_names:
        return f"{shown}; each name of a class, of which the best counts"
    whole = text_encoder.get("prompt") == "whole"
    return f"{shown}; " + ("the whole entry" if whole else "the first name of a class")


def _image_text(pipeline: Sequence[Mapping[str, Any]]) -> str:
    steps = [step for step in pipeline if _type(step) not in HANDLED]
    return ", then ".join(_call(step) for step in steps)


def _type(step: Mapping[str, Any]) -> str:
    return str(step["type"]).rpartition(".")[2]


def _call(step: Mapping[str, Any]) -> str:
    name, told = _type(step), ("type", "imdecode_backend", "color_type")
    arguments = [f"{key}={value!r}" for key, value in step.items() if key not in told]
    if name.startswith("Load"):
        name += f" by {step.get('imdecode_backend') or 'cv2'}"
    return f"{name}({', '.join(arguments)})" if arguments else name


def _views_text(model: Mapping[str, Any]) -> str:
    """How the model itself looks at the image that it is given."""
    test, backbone = model.get("test_cfg") or {}, model.get("backbone") or {}
    if "mode" in test:
        told = {key: test[key] for key in ("canvas", "window", "overlap", "clip_resolution") if key in test}
        return f"{test['mode']}: " + ", ".join(f"{key} {value}" for key, value in told.items())
    if model.get("view"):
        shorter, longer = model["view"]
        return f"whole, shorter side {shorter}, at most {longer}"
    side = model.get("resolution") or backbone.get("resolution")
    return f"whole, CLIP at {side}" if side else "whole, as it comes"


def _metric_text(evaluator: Any, style: str | None) -> str:
    evaluators = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    kinds = ", ".join(_type(each) for each in evaluators)
    if not any(_type(each) == "OpenVocabIoUMetric" for each in evaluators):
        return kinds
    rules = (METRIC_RULES[measured_as(style, metric)] for metric in ("mIoU", "mAcc"))
    return "; ".join((kinds, *rules))


def _printed_text(paper: Mapping[str, Any] | None, benchmark: str) -> str:
    printed = {metric: entry.figure for (of, metric), entry in printed_figures(paper).items() if of == benchmark}
    return ", ".join(f"{metric} {figure:g}" for metric, figure in printed.items()) or "nothing"


def _background_text(dataset: Any, vocabulary: Vocabulary) -> str:
    classes = dataset.metainfo.get("classes") or vocabulary.classes
    if classes[0] != "background":
        return "no class"
    folds = dataset.metainfo.get("folds") or range(len(classes))
    names = sum(fold == 0 for fold in folds)
    text = f"class 0, asked for by {names} " + ("entry" if names == 1 else "entries")
    numbers = [number for number, label in (dataset.label_map or {}).items() if label == 0]
    return f"{text}; {_ranges(numbers)} in the files" if numbers else text


def _ignored_text(dataset: Any) -> str:
    ignore = getattr(dataset, "ignore_index", None)
    if ignore is None:
        return "pixels of no segment"
    mapped = dataset.label_map or {}
    numbers = [number for number, label in mapped.items() if label == ignore]
    if getattr(dataset, "reduce_zero_label", False):
        numbers.append(0)
    if ignore not in mapped:
        numbers.append(ignore)
    return f"{_ranges(numbers)} in the files" if numbers else "nothing"


def _ranges(numbers: Iterable[int]) -> str:
    """1, 3, 4, 5 -> "1, 3 to 5"."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in parts)
