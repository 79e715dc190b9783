"""An ONNX file's weights in eight bits, as many of them as leave its labels as they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hclip_mmseg.demo_assets.scenes import render_scene
from hclip_mmseg.export.description import KEY
from hclip_mmseg.export.onnx_model import OnnxModel
from hclip_mmseg.export.resampling import Floats
from hclip_mmseg.export.rounding import Matrix, Rounded, round_matrix
from hclip_mmseg.files.showing import counted
from hclip_mmseg.results import Boxes

ALIKE = 0.999
"""Share of labels that is to stay."""
SHARES = (0, 1 / 8, 1 / 4, 1 / 2, 1)
"""Shares of the matrices that are left in 16 bits, in the order in which they are tried."""
SMALL = 1 / 500
"""Share of all weights below which a matrix stays in 16 bits: it saves little."""
FEW = 1024
"""Weights that stay as they are; so do values above ``LARGE``, such as places in pixels, which 16 bits make coarse."""
LARGE = 64
ROWS = 1 << 15
"""Inputs of every matrix that are enough to calibrate on: images after them are not looked at."""
MOST = 64
"""Images that are looked at; of more, at most these at equal distances. So many rendered scenes stand for none."""
SIDE = 192
"""Sides of the rendered scenes in pixels."""

Image = NDArray[np.uint8]
Labels = NDArray[np.int64] | Boxes


class Factor(NamedTuple):
    """A constant matrix of a graph: the name of what it is multiplied with, its own, and whether it is transposed."""

    inputs: str
    name: str
    transposed: bool


@dataclass(frozen=True)
class Agreement:
    """How many labels a file in eight bits shares with the one in 32.

    Attributes:
        share: of the pixels, or of a detector's boxes.
        images: how many it was measured on.
        matrices: how many are in eight bits.
        of: how many there are.
    """

    share: float
    images: int
    matrices: int
    of: int


def store_in_eight_bits(file: Path, images: Sequence[Image] = (), threads: int | None = None) -> str:
    """Bring the weights of a file to eight bits, and tell how many labels stay as they are.

    Seven of eight images measure what goes into the matrices, and labels are compared on the others. Where fewer than
    :data:`ALIKE` of them stay, the matrices that lose most go back to 16 bits. What was measured is written into
    the file's description.

    Args:
        file: as :func:`~hclip_mmseg.export.writing.write_model` writes it in ONNX, in 32 bits; replaced.
        images: RGB uint8 [H, W, 3] each, of the kind that the file will be used on; none: rendered scenes.
        threads: of onnxruntime; None: its own choice.

    Returns:
        A line that tells of the agreement.
    """
    import onnx

    source = "image" if images else "rendered scene"
    images = images or [render_scene(0, index, SIDE).image for index in range(MOST)]
    images = images[:: -(-len(images) // MOST)]
    held = set(range(7, len(images), 8)) or {len(images) - 1}
    others = [images[index] for index in sorted(held)]
    calibration = [image for index, image in enumerate(images) if index not in held] or images
    model = onnx.load(str(file))
    whole = OnnxModel(file, threads)
    before, description = _labels(whole, others), whole.description
    del whole  # others are opened below, and each holds its weights
    with TemporaryDirectory(prefix=".hclip", dir=file.parent) as folder:
        part = Path(folder) / "part.onnx"
        factors = _factors(model)
        moments = _moments(model, part, {factor.inputs for factor in factors}, calibration, threads)
        rounded = {factor: _round(model, factor, moments[factor.inputs]) for factor in factors}
        worst = sorted(factors, key=lambda factor: -rounded[factor].error)
        for share in SHARES:
            chosen = worst[int(np.ceil(share * len(worst))) :]
            stored = _stored(model, {factor: rounded[factor] for factor in chosen})
            onnx.save(stored, str(part))
            pairs = zip(before, _labels(OnnxModel(part, threads), others), strict=True)
            alike = float(np.mean([_alike(*pair) for pair in pairs]))
            if alike >= ALIKE:
                break
        agreement = Agreement(alike, len(others), len(chosen), len(worst))
    described = replace(description, int8=vars(agreement))
    onnx.helper.set_model_props(stored, {KEY: described.to_text()})
    onnx.save(stored, str(file))
    seen = "not calibrated on" if len(images) > 1 else "calibrated on, too: give more"
    return _line(agreement, "boxes" if description.kind == "boxes" else "pixels", source, seen)


def _line(agreement: Agreement, what: str, source: str, seen: str) -> str:
    line = (
        f"{agreement.matrices} of {agreement.of} large matrices in 8 bits, other weights in 16: {agreement.share:.2%} "
        f"of the {what} of {counted(agreement.images, source)} ({seen}) keep their label"
    )
    few = f", fewer than {ALIKE:.1%}: look at its results before you rely on it"
    return line if agreement.share >= ALIKE else line + few


def _factors(model: Any) -> list[Factor]:
    """The constant matrices of a graph's products, without small ones."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer if len(tensor.dims) == 2}
    least = SMALL * sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    found: dict[str, Factor] = {}
    for node in model.graph.node:
        if node.op_type not in ("MatMul", "Gemm") or sizes.get(node.input[1], 0) < max(least, FEW):
            continue
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        if not flags.get("transA"):
            name = node.input[1]
            found.setdefault(name, Factor(node.input[0], name, bool(flags.get("transB"))))
    return list(found.values())


class _Watched(OnnxModel):
    """A file that also gives what goes into its matrices; second moments of it are summed up.

    Args:
        file, threads: see :class:`OnnxModel`.
        names: of the file's last outputs, which are summed up and not passed on.
    """

    def __init__(self, file: Path, threads: int | None, names: Sequence[str]) -> None:
        super().__init__(file, threads)
        self.names = names
        self.moments: dict[str, Matrix] = {}
        self.rows = dict.fromkeys(names, 0)

    def run(self, images: Floats) -> list[Any]:
        results = super().run(images)
        count = len(results) - len(self.names)
        for name, value in zip(self.names, results[count:], strict=True):
            rows = value.reshape(-1, value.shape[-1])
            self.moments[name] = self.moments.get(name, 0) + (rows.T @ rows).astype(np.float64)
            self.rows[name] += len(rows)
        return results[:count]


def _moments(
    model: Any, part: Path, names: Collection[str], images: Sequence[Image], threads: int | None
) -> dict[str, Matrix]:
    """The sums of x x^T of what goes into the matrices, by name, over some images."""
    import onnx

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    present = {each.name for each in model.graph.input}
    ordered = sorted(set(names) - present)
    for name in ordered:
        watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    onnx.save(watched, str(part))
    del watched
    runner = _Watched(part, threads, ordered)
    for image in images:
        _labels(runner, [image])
        if min(runner.rows.values(), default=0) >= ROWS:
            break
    return runner.moments


def _round(model: Any, factor: Factor, moment: Matrix) -> Rounded:
    from onnx import numpy_helper

    (weight,) = (numpy_helper.to_array(each) for each in model.graph.initializer if each.name == factor.name)
    return round_matrix(weight.T if factor.transposed else weight, moment)


def _stored(model: Any, rounded: Mapping[Factor, Rounded]) -> Any:
    """A copy of a model, some matrices in eight bits and its other weights in 16; all are computed with in 32.

    What reads a weight's name reads the output of the node that brings it to 32 bits. A matrix is cast and multiplied
    with its scales, which onnxruntime does once when it opens the file: it takes DequantizeLinear before a product as
    leave to round what the matrix is multiplied with, too.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    stored = onnx.ModelProto()
    stored.CopyFrom(model)
    graph = stored.graph
    tensors, nodes = list(graph.initializer), list(graph.node)
    graph.ClearField("initializer")
    graph.ClearField("node")
    by_name = {factor.name: (factor, matrix) for factor, matrix in rounded.items()}
    for tensor in tensors:
        name = tensor.name
        parts: dict[str, NDArray[Any]] = {}
        if name in by_name:
            factor, matrix = by_name[name]
            parts = dict(int8=matrix.values, scale=matrix.scales[None])
            if factor.transposed:
                parts = {key: np.ascontiguousarray(part.T) for key, part in parts.items()}
            graph.node.append(helper.make_node("Cast", [f"{name}_int8"], [f"{name}_steps"], to=TensorProto.FLOAT))
            graph.node.append(helper.make_node("Mul", [f"{name}_steps", f"{name}_scale"], [name]))
        elif tensor.data_type == TensorProto.FLOAT and _fits_16_bits(array := numpy_helper.to_array(tensor)):
            parts = dict(half=array.astype(np.float16))
            graph.node.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
        else:
            graph.initializer.append(tensor)
        graph.initializer.extend(numpy_helper.from_array(part, f"{name}_{key}") for key, part in parts.items())
    graph.node.extend(nodes)
    return stored


def _fits_16_bits(array: NDArray[np.float32]) -> bool:
    return array.size >= FEW and float(np.abs(array).max()) <= LARGE


def _labels(model: OnnxModel, images: Sequence[Image]) -> list[Labels]:
    """The label map, or the boxes, of each image."""
    if model.description.kind == "boxes":
        return [model.detect(image) for image in images]
    return [model.labels(model.score(image), (image.shape[0], image.shape[1]))[0] for image in images]


def _alike(before: Labels, after: Labels) -> float:
    """The share of pixels with one label in both, or of boxes that have a box of their label less than a pixel away."""
    if not isinstance(before, Boxes) or not isinstance(after, Boxes):
        return float(np.mean(before == after))
    if not len(before) or not len(after):
        return float(len(before) == len(after))
    away = np.abs(before.corners[:, None] - after.corners).max(axis=2)
    return float(((away < 1) & (before.labels[:, None] == after.labels)).any(axis=1).mean())
