"""Writing a model as one file: ONNX, TorchScript or torch's own exported program."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hclip_mmseg.datasets.published_resize import PublishedResize
from hclip_mmseg.export.canvas import Canvas
from hclip_mmseg.export.description import KEY, Description
from hclip_mmseg.export.eight_bits import store_in_eight_bits
from hclip_mmseg.export.onnx_model import OnnxModel
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.showing import counted, with_article
from hclip_mmseg.files.writing import whole
from hclip_mmseg.models import OpenVocabSegmentor
from hclip_mmseg.models.cost_aggregation import CostAggregator
from hclip_mmseg.models.name_groups import NameGroups, one_each
from hclip_mmseg.models.segmentors.open_vocab_segmentor import CLASS_MAPS_ON_CPU
from hclip_mmseg.training_free import TrainingFreeSegmentor
from hclip_mmseg.visualization import name_colours

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "pt2": ".pt2"}
"""Format -> how its files are named."""
OPSET = 18
SAME_BOX = 0.05
"""Pixels that two boxes differ by at most."""
TOLERANCE = 1e-4
"""Scores of a file in 32 bits may differ from the model's by this much."""


class PortablePass(nn.Module):
    """A pass whose input and output are in 32 bits, whatever it computes in.

    Args:
        image_pass: of a model; it is copied.
        images: what it is run on once, so that what it holds for their size becomes constants of a graph.
        description: of the file.

    Attributes:
        names: whether the pass gives the names that its logits belong to.
    """

    def __init__(self, image_pass: nn.Module, images: Tensor, description: Description) -> None:
        super().__init__()
        self.image_pass = copy.deepcopy(image_pass)
        if description.batch is None:  # chunks of names depend on the number of images
            for module in self.image_pass.modules():
                if isinstance(module, CostAggregator):
                    module.inference_chunk = None
        self.names = len(self.image_pass(images)) > 1
        self.dtype = torch.float16 if description.half else torch.float32
        self.image_pass.to(self.dtype)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [B, 3, H, W] -> (logits [B, K, h, w],), and the [B, K] names that they belong to if K < T.

        Of a detector boxes [N, 4] and scores [N, T].
        """
        logits, *kept = self.image_pass(images.to(self.dtype))
        return (logits.float(), *kept)


def check_form(form: str, *, half: bool = False, int8: bool = False) -> None:
    """Check that models can be written in a format, and in fewer bits, here.

    Raises:
        ValueError: if there is no such format, a package that it needs is not installed, or 8 bits are asked for
            together with 16 or in another format than ONNX.
    """
    if form not in SUFFIXES:
        raise InputError(f"format {form!r} is none of {', '.join(SUFFIXES)}")
    if int8 and (form != "onnx" or half):
        raise InputError(
            "--int8 is for ONNX, and stores other weights in 16 bits itself: leave out --half and --format"
        )
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if form == "onnx" and missing:
        raise InputError(f'ONNX needs {", ".join(missing)}, not installed here: pip install "hclip-mmseg[export]"')


def check_target(target: Path, form: str) -> Path:
    """The file, whose ending is that of its format.

    Raises:
        ValueError: if it is another, or there is none: which it has to be.
    """
    if target.suffix != SUFFIXES[form]:
        of_other = next((other for other, suffix in SUFFIXES.items() if suffix == target.suffix), None)
        hint = f", or choose the format {of_other}" if of_other else ""
        raise InputError(
            f"a file of the format {form} ends in {SUFFIXES[form]}, not as {target.name}: call it so{hint}"
        )
    return target


def describe(
    model: Any,
    resize: Iterable[PublishedResize] | Canvas = (),
    *,
    dynamic: bool = False,
    half: bool = False,
    dynamic_size: bool = True,
    versions: dict[str, str] | None = None,
    groups: NameGroups | None = None,
    reported: int | None = None,
) -> Description:
    """The description of a model's file.

    Args:
        model: with its vocabulary set.
        resize: the step that images go through first, if any; of a detector its canvas.
        dynamic: whether the file takes any number of images at once.
        half: whether it computes in 16 bits.
        dynamic_size: whether its format can leave the size of images open, where the model does.
        versions: of what writes the file.
        groups: the classes that the model's names count as; None: every name is one.
        reported: how many of these are reported, the first ones; None: all. Of a detector the rest compete.

    Raises:
        ValueError: if there is no vocabulary, the groups do not merge by the best name, or the model has no pass that
            can be written so.
    """
    canvas = resize if isinstance(resize, Canvas) else None
    steps: list[PublishedResize] = [] if isinstance(resize, Canvas) else list(resize)
    form = _form_of(model, dynamic_size, canvas)
    if form.kind == "boxes" and (dynamic or half):
        raise InputError("a detector's file takes one image at once, in 32 bits: leave out --dynamic and --half")
    if not model.vocabulary:
        raise InputError("no class names to export the model for: give a vocabulary, such as 'cat, grass'")
    groups = groups or one_each(model.vocabulary)
    if groups.merge != "max":
        raise InputError("an exported class of several names has its best name's score: merge must be 'max'")
    names = groups.names[:reported]
    preprocessor: Any = model.data_preprocessor
    return Description(
        kind=form.kind,
        vocabulary=names,
        folds=tuple(fold if fold < len(names) else -1 for fold in groups.folds),
        colours=tuple(tuple(colour) for colour in name_colours(names).tolist()),
        mean=tuple(preprocessor.mean.flatten().tolist()),
        std=tuple(preprocessor.std.flatten().tolist()),
        size=form.size,
        patch=model.backbone.image_tower.patch_size,
        batch=None if dynamic else 1,
        resize=dict(short_side=steps[0].short_side, max_size=steps[0].max_size) if steps else None,
        settings=form.settings,
        half=half,
        versions=versions or {},
    )


class _Form(NamedTuple):
    """What a model's one pass takes: its kind, the size of its images where it is fixed, and what it is set to."""

    kind: str
    size: tuple[int, int] | None
    settings: dict[str, Any]


def _form_of(model: Any, dynamic_size: bool, canvas: Canvas | None) -> _Form:
    if isinstance(model, OpenVocabSegmentor):
        if model.clip_resolution is None:
            raise InputError("a model with test_cfg.clip_resolution=None has views of any size: set a number of pixels")
        names = ("mode", "canvas", "window", "overlap", "clip_resolution", "class_maps", "score_threshold")
        settings = {name: getattr(model, name) for name in names}
        if settings["class_maps"] == "auto":
            settings["class_maps"] = CLASS_MAPS_ON_CPU
        return _Form("views", (model.clip_resolution, model.clip_resolution), settings)
    if isinstance(model, TrainingFreeSegmentor):
        size = (model.resolution, model.resolution)
        return _Form("patches", None if dynamic_size else size, dict(resolution=model.resolution))
    if canvas is not None:
        cfg = model.test_cfg.rcnn
        settings = dict(scale=canvas.scale, pad=canvas.pad or tuple(model.data_preprocessor.mean.flatten().tolist()))
        settings |= dict(rounded=canvas.rounded, score_threshold=cfg.score_thr, iou_threshold=cfg.nms.iou_threshold)
        return _Form("boxes", canvas.size, dict(settings, max_boxes=cfg.max_per_img))
    raise InputError(
        f"{with_article(type(model).__name__)} cannot be exported: segmentors with a decode head, training-free ones "
        "and detectors can"
    )


@torch.no_grad()
def write_model(
    model: Any,
    target: Path,
    form: str,
    resize: Iterable[PublishedResize] | Canvas = (),
    *,
    dynamic: bool = False,
    half: bool = False,
    int8: bool = False,
    images: Sequence[NDArray[np.uint8]] = (),
    versions: dict[str, str] | None = None,
    groups: NameGroups | None = None,
    reported: int | None = None,
) -> list[str]:
    """Write a model for the names that it is asked for.

    Adapters are folded, the names' embeddings are constants, and the text tower is left out. A file in ONNX is run
    once, and compared with the model.

    Args:
        model: a segmentor, training-free model or detector in evaluation mode, its vocabulary set.
        target: the file.
        form: 'onnx', 'torchscript' or 'pt2'.
        resize, dynamic, half, versions, groups, reported: see :func:`describe`.
        int8, images: see :func:`~hclip_mmseg.export.eight_bits.store_in_eight_bits`.

    Returns:
        Lines that say what was written, and what of the model is not in the file.

    Raises:
        ValueError: see :func:`check_form` and :func:`describe`; if the scores of a file in 32 bits are not the model's.
    """
    check_form(form, half=half, int8=int8)
    open_size = form != "torchscript"
    description = describe(
        model, resize, dynamic=dynamic, half=half, dynamic_size=open_size, versions=versions, groups=groups,
        reported=reported,
    )  # fmt: skip
    made, example = model.image_pass(), _example(description)
    expected = made(example)
    passed = PortablePass(made, example, description)
    with whole(target) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`create_unbacked_symint` is deprecated", FutureWarning)  # torchvision's own
        if form == "onnx":
            _write_onnx(passed, example, description, part)
            lines = _compare(part, example, expected, description)
            if int8:
                lines.append(store_in_eight_bits(part, images, torch.get_num_threads()))
        elif form == "pt2":
            program = _exported(passed, example, description)
            with part.open("wb") as file:  # a name must end in .pt2, and this one is not the last
                torch.export.save(program, file, extra_files={KEY: description.to_text()})
            lines = []
        else:
            warnings.simplefilter("ignore")  # numbers of shapes become constants: the size is fixed
            script = torch.jit.trace(passed, example, check_trace=False)
            torch.jit.save(script, str(part), _extra_files={KEY: description.to_text()})
            lines = []
    return [_summary(target, description), *lines, *_left_out(model)]


def _summary(target: Path, description: Description) -> str:
    size = "any size" if description.size is None else f"{description.size[0]} x {description.size[1]} pixels"
    batch = "any number of images" if description.batch is None else "1 image"
    mebibytes = target.stat().st_size / 2**20
    return f"{target}: {counted(len(description.vocabulary), 'class name')}, {batch} of {size}, {mebibytes:.0f} MiB"


def _example(description: Description) -> Tensor:
    """Random images of the file's size; where sizes are open two that differ, since equal ones would be kept equal."""
    size = description.size or tuple(
        max(description.settings["resolution"] // description.patch + more, 2) * description.patch for more in (0, 2)
    )
    generator = torch.Generator().manual_seed(0)
    return torch.randn(description.batch or 2, 3, *size, generator=generator)


def _exported(passed: PortablePass, images: Tensor, description: Description) -> torch.export.ExportedProgram:
    sizes: dict[int, Any] = {}
    if description.batch is None:
        sizes[0] = torch.export.Dim("batch", min=1, max=4096)
    if description.size is None:
        sizes |= {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    return torch.export.export(passed, (images,), strict=False, dynamic_shapes=(sizes or None,))


def _write_onnx(passed: PortablePass, images: Tensor, description: Description, part: Path) -> None:
    outputs = ["boxes", "scores"] if description.kind == "boxes" else ["logits", *["names"] * passed.names]
    with _errors_alone("onnxscript"):  # it tells of every operator that it does not fold
        program = torch.onnx.export(
            _exported(passed, images, description),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=outputs,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props[KEY] = description.to_text()
    program.save(str(part), external_data=False)


@contextmanager
def _errors_alone(package: str) -> Iterator[None]:
    """A package logs nothing but errors in the block."""
    logger = logging.getLogger(package)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _compare(part: Path, images: Tensor, expected: Sequence[Tensor], description: Description) -> list[str]:
    found = OnnxModel(part, threads=torch.get_num_threads()).run(images.numpy())
    if description.kind == "boxes":
        return [_compare_boxes(expected, found)]
    scores: tuple[NDArray[Any], ...] = (expected[0].numpy(), found[0])
    if description.kind == "views":
        scores = tuple(1 / (1 + np.exp(-logits)) for logits in scores)
    else:
        powers = [np.exp(logits - logits.max(axis=1, keepdims=True)) for logits in scores]
        scores = tuple(power / power.sum(axis=1, keepdims=True) for power in powers)
    difference = float(np.abs(scores[0] - scores[1]).max())
    if not description.half and not difference <= TOLERANCE:
        raise ValueError(f"the scores that onnxruntime computes differ from the model's by {difference:.1e}")
    return [f"run once by onnxruntime: scores differ by {difference:.1e} at most"]


def _compare_boxes(expected: Sequence[Tensor], found: Sequence[NDArray[np.float32]]) -> str:
    """Compares each box with the nearest one of the file: near ties of proposals may change places."""
    boxes, scores = (part.numpy() for part in expected)
    away = np.abs(boxes[:, None] - found[0]).max(axis=2)
    nearest = away.argmin(axis=1)
    same = away.min(axis=1) <= SAME_BOX
    difference = float(np.abs(scores - found[1][nearest])[same].max(initial=0))
    if not (same.mean() >= 0.99 and difference <= TOLERANCE):
        raise ValueError(
            f"onnxruntime finds {same.mean():.1%} of the model's boxes, and scores that differ by {difference:.1e}"
        )
    return f"run once by onnxruntime: {same.mean():.1%} of the boxes are the same, scores differ by {difference:.1e}"


def _left_out(model: nn.Module) -> list[str]:
    parts = [
        said
        for part, said in (("region_finder", "regions and their votes"), ("refinement", "its refinement"))
        if getattr(model, part, None) is not None
    ]
    return [f"not in the file: {' and '.join(parts)}; it gives the patches' labels"] if parts else []
