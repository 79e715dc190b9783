"""The training config for data of one's own: method, size, and a schedule that fits the data."""

from __future__ import annotations

import math
import pprint
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from hclip_mmseg.apis.launch import read_config
from hclip_mmseg.datasets.benchmarks import find_benchmark
from hclip_mmseg.files.checkpoints import find_checkpoint
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.showing import with_article
from hclip_mmseg.zoo import ZooModel, find_model
from hclip_mmseg.zoo.choice import is_name

SIZES = ("tiny", "base", "large")
SEGMENTOR = {"tiny": "hclip_tiny", "base": "hclip_vitb16", "large": "hclip_vitl14"}
BASES = {
    "fisa": {"tiny": "fisa_tiny", "base": "fisa_vitb16_swin-b"},
    "maft-plus": {"tiny": "maft-plus_tiny", "base": "maft-plus_convnext-b", "large": "maft-plus_convnext-l"},
}
"""Mask classifiers -> size -> config; all others are H-CLIP's with another adapter."""
ADAPTERS = {
    "h-clip": None,
    "pop": "dict(relation=None)",
    "lora": 'dict(_delete_=True, type="LoRA", rank={rank})',
    "cat-seg": 'dict(_delete_=True, type="TrainedProjections", projections=("q", "v"))',
    "freeze": "None",
}
METHODS = (*ADAPTERS, *BASES)
UNUSED = ("lora", "cat-seg")
"""Methods that train parameters of the last image block which never get a gradient."""
PUBLISHED = {"h-clip": (2e-4, 4), "fisa": (1e-4, 16), "maft-plus": (1e-4, 8)}
"""Learning rate, and images a step over all processes, of the published schedules."""
TINY = {"h-clip": (2e-3, 2), "fisa": (1e-3, 4), "maft-plus": (1e-3, 4)}
PASSES = 40
LEAST, MOST = 500, 80_000
SCORED = 171
"""Names that a training step scores at most, as many as COCO-Stuff has."""


@dataclass(frozen=True)
class Training:
    """How a model is trained on data of one's own.

    Attributes:
        method: one of ``METHODS``.
        size: of CLIP, one of ``SIZES``; "tiny" is the embedded one.
        batch_size: images a step of each process.
        processes: that train together.
        iterations: steps; None: 40 passes over the images, at least 500 and at most 80,000 steps.
        start: checkpoint to start from instead of CLIP, or the name of a model with published weights.
        keep: a data set whose figures are watched and that is not trained (see :func:`companion`); "" for embeddings
            alone; None for nothing. See :class:`~hclip_mmseg.engine.keep_hook.KeepHook`.
        hold: weight of :class:`~hclip_mmseg.models.losses.held_names.HeldNamesLoss`; None: none.
        mix: a data set that is trained beside, on its own names; None: none.
        mix_share: its share of all samples, between 0 and 1.
    """

    method: str = "h-clip"
    size: str = "base"
    batch_size: int = 4
    processes: int = 1
    iterations: int | None = None
    start: str | None = None
    keep: str | None = None
    hold: float | None = None
    mix: str | None = None
    mix_share: float = 0.2

    def __post_init__(self) -> None:
        for option, value, known in (("--method", self.method, METHODS), ("--size", self.size, SIZES)):
            if value not in known:
                raise InputError(f"{option} knows {', '.join(known)}, not '{value}'")
        if self.size not in BASES.get(self.method, SEGMENTOR):
            raise InputError(f"--method {self.method} has no size '{self.size}': take base")
        if self.masks and (self.keep is not None or self.hold is not None or self.mix is not None):
            raise InputError(f"--keep, --hold and --mix are for segmentors; --method {self.method} classifies masks")
        if not 0 < self.mix_share < 1:
            raise InputError(f"--mix-share is a share between 0 and 1, not {self.mix_share}")
        if self.hold is not None and not 0 < self.hold < math.inf:
            raise InputError(f"--hold is a weight above 0, not {self.hold}")
        for option, number in (("--batch-size", self.batch_size), ("--processes", self.processes)):
            if number < 1:
                raise InputError(f"{option} must be at least 1, not {number}")
        if self.iterations is not None and self.iterations < 1:
            raise InputError(f"--iterations must be at least 1, not {self.iterations}")
        for source, part in ((self.keep, "test"), (self.mix, "train")):
            if source:
                companion(source, part)
        if is_name(self.start):
            self._check_named_start(find_model(str(self.start)))
        elif self.start is not None:
            find_checkpoint(self.start)

    def _check_named_start(self, model: ZooModel) -> None:
        if model.weights is None or model.part is not None:
            raise InputError(
                f"--start {self.start}: nobody publishes such weights of {model.name}; hclip-models lists what there is"
            )
        kind = _kind_of(model.config)
        if kind == _kind_of(self.base):
            return
        fitting = [
            f"--method {method} --size {size}"
            for method in METHODS
            for size in BASES.get(method, SEGMENTOR)
            if _kind_of(_base(method, size)) == kind
        ]
        raise InputError(
            f"--start {self.start}, {with_article(' on '.join(kind))}, does not fit --method {self.method} "
            f"--size {self.size}: "
            + (f"take {' or '.join(fitting)}" if fitting else "no method here goes on from it")
        )

    @property
    def base(self) -> str:
        """The config that the written one is built on."""
        return _base(self.method, self.size)

    @property
    def masks(self) -> bool:
        """Whether the method classifies masks."""
        return self.method in BASES

    def steps(self, images: int) -> int:
        """Steps for a number of training images."""
        if self.iterations is not None:
            return self.iterations
        return min(max(math.ceil(PASSES * images / (self.batch_size * self.processes)), LEAST), MOST)

    def learning_rate(self) -> float:
        """The published rate, times the square root of this batch over the published one, as is usual with Adam."""
        kind = self.method if self.masks else "h-clip"
        rate, batch = (TINY if self.size == "tiny" else PUBLISHED)[kind]
        return float(f"{rate * math.sqrt(self.batch_size * self.processes / batch):.2g}")


def _base(method: str, size: str) -> str:
    return f"hclip_mmseg::own/{(BASES.get(method) or SEGMENTOR)[size]}.py"


def _kind_of(config: str) -> tuple[str, str]:
    """Type of a config's model, and its CLIP."""
    model = read_config(config, ["model"]).model
    return model.type, str((model.get("backbone") or {}).get("clip", {}).get("model"))


def training_config(
    name: str, training: Training, images: int, classes: Sequence[str], held_out: Sequence[str], best: str
) -> str:
    """The text of a config beside ``dataset.py`` that ``hclip-train`` takes.

    Args:
        name: of the data set.
        training: see there.
        images: how many are for training.
        classes: all titles.
        held_out: those that are not trained.
        best: metric whose best checkpoint is kept, such as "mIoU_unseen".

    Raises:
        ValueError: if a mask classifier is asked for more classes than its label maps hold.
    """
    if training.masks and len(classes) > 255:
        raise InputError(f"--method {training.method} takes at most 255 classes, not {len(classes)}")
    return "\n".join(_lines(name, training, images, classes, held_out, best)) + "\n"


def _lines(
    name: str, training: Training, images: int, classes: Sequence[str], held_out: Sequence[str], best: str
) -> list[str]:
    steps = training.steps(images)
    interval = max(steps // 10, 1)
    warm_up = min(steps // 20, 1000) if steps >= 40 else 0
    climb = f'    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end={warm_up}),'
    together = training.batch_size * training.processes
    lines = [
        f'"""Trains {training.method} on {name.translate(str.maketrans("", "", chr(34) + chr(92)))}: yours to edit."""',
        "",
        f'_base_ = ["./dataset.py", "{training.base}"]',
        'work_dir = "{{ fileDirname }}/run"',
        *_start_line(training.start),
        "",
        "train_dataloader = dict(",
        f"    batch_size={training.batch_size},  # of each of {training.processes} processes",
        *_training_data(training),
        ")",
        "val_dataloader = dict(",
        "    batch_size=1, dataset=dict(_base_.validation, _delete_=True, pipeline=_base_.test_pipeline)",
        ")",
        "test_dataloader = val_dataloader",
        'val_evaluator = [dict(type="mmseg.OpenVocabIoUMetric", iou_metrics=["mIoU"]'
        + (", ignore_index=65535)]" if len(classes) > 255 else ")]"),
        "test_evaluator = val_evaluator",
        "",
        *_model_lines(training, len(classes) - len(held_out), len(classes)),
        f"max_iters = {steps}  # {steps * together / images:.0f} passes over {images} images, {together} a step",
        f"optim_wrapper = dict(optimizer=dict(lr={training.learning_rate()}))",
        "param_scheduler = [",
        *([climb] if warm_up else []),
        f'    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin={warm_up}, end=max_iters,',
        f"         T_max={max(steps - warm_up, 1)}),",
        "]",
        f"train_cfg = dict(max_iters=max_iters, val_interval={interval})",
        "default_hooks = dict(",
        f"    logger=dict(interval={min(max(steps // 50, 1), 50)}),",
        f'    checkpoint=dict(interval={interval}, save_best="{best}", rule="greater"),  # best_{best}_*.pth is kept',
        ")",
    ]
    if training.keep is not None:
        lines.append(f"custom_hooks = [{_keep_hook(training.keep)}]")
    return lines


def _start_line(start: str | None) -> list[str]:
    if start is None:
        return []
    meant = start if is_name(start) else str(find_checkpoint(start).absolute())
    return [f"load_from = {meant!r}"]


def companion(source: str, part: str) -> dict[str, Any]:
    """Settings of another data set, without its pipeline.

    Args:
        source: path of a ``dataset.py`` of ``hclip-new-dataset``, or the name of a benchmark, whose data must be there
            when it is used.
        part: 'train' or 'test'.

    Raises:
        FileNotFoundError, ValueError: if it is neither, or the benchmark has no config for training.
    """
    path = Path(source)
    if path.suffix == ".py":
        cfg = read_config(path, ["training", "validation"])
        settings = cfg.training if part == "train" else cfg.validation
    else:
        benchmark = find_benchmark(source)
        if benchmark is None:
            raise InputError(f"'{source}' is no benchmark, and no dataset.py of another data set")
        cfg = Config.fromfile(benchmark.config_path)
        if f"{part}_dataloader" not in cfg:
            raise InputError(f"the benchmark {benchmark.name} has no config for training; COCO-Stuff has one")
        settings = cfg[f"{part}_dataloader"].dataset
    plain: dict[str, Any] = ConfigDict(settings).to_dict()
    plain.pop("pipeline", None)
    kind = str(plain["type"])
    return {**plain, "type": kind if "." in kind else f"mmseg.{kind}"}


def _training_data(training: Training) -> list[str]:
    own = "_base_.training, pipeline=_base_.train_pipeline"
    if training.mix is None:
        return [f"    dataset=dict({own}, _delete_=True),"]
    beside = pprint.pformat(companion(training.mix, "train"), width=100, sort_dicts=False).replace(
        "\n", "\n            "
    )
    return [
        "    dataset=dict(",
        "        _delete_=True,",
        '        type="mmseg.MixedDataset",',
        "        datasets=[",
        f"            dict({own}),",
        f"            dict({beside}, pipeline=_base_.train_pipeline),",
        "        ],",
        f"        ratio=({1 - training.mix_share:g}, {training.mix_share:g}),",
        "    ),",
    ]


def _keep_hook(foreign: str) -> str:
    if not foreign:
        return 'dict(type="mmseg.KeepHook")'
    settings = companion(foreign, "test")
    text = pprint.pformat(settings, width=100, sort_dicts=False).replace("\n", "\n    ")
    return f'dict(type="mmseg.KeepHook", foreign=dict({text}, pipeline=_base_.test_pipeline))'


def _model_lines(training: Training, trained: int, classes: int) -> list[str]:
    """What of the model differs from the base config."""
    if training.masks:
        return []
    parts = []
    adapter = ADAPTERS[training.method]
    backbone = [f"adapter={adapter.format(rank=8 if training.size == 'tiny' else 64)}"] if adapter else []
    if trained > SCORED // 2 and training.size != "tiny":
        backbone.append('checkpoint_text="auto"')  # on a CPU: less memory for a twentieth more time
    if backbone:
        parts.append(f"    backbone=dict({', '.join(backbone)}),")
    if classes > 255:
        parts += ["    data_preprocessor=dict(seg_pad_val=65535),", "    decode_head=dict(ignore_index=65535),"]
    step = [f"sampled_names={SCORED}"] if trained > SCORED else []  # those in a step's images, and others
    if training.hold is not None:
        step.append(f"hold=dict(weight={training.hold})")
    if step:
        parts.append(f"    train_cfg=dict({', '.join(step)}),")
    lines = ["model = dict(", *parts, ")"] if parts else []
    if training.method in UNUSED:
        lines.append("find_unused_parameters = True")
    return [*lines, ""] if lines else []
