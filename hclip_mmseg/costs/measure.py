"""Timing the forms of a row, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import torch

from hclip_mmseg.costs.kernels import Kernels
from hclip_mmseg.costs.operations import operations
from hclip_mmseg.costs.rows import ROWS, Row
from hclip_mmseg.engine.memory import keep_freed_memory, peak_memory
from hclip_mmseg.models import onednn
from hclip_mmseg.models.arithmetic import inference_arithmetic

PROCESSES = multiprocessing.get_context("forkserver")
"""New processes are forked from one that has imported all and done nothing, which spares each the imports."""
CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
"""What steps on a CPU are timed by: the time that passes, or the processor's time that the process took."""
PRECISIONS = ("fp32", "tf32", "bf16")
"""Of the layers' arithmetic: fp32; fp32 whose products a GPU may round to TF32; bfloat16 by autocast."""
APART = multiprocessing.get_context("spawn")
"""For GPUs: imports ask whether there is one, and CUDA does not outlive a fork."""


class MeasurementError(RuntimeError):
    """A process that measures ended before it was done."""


class Measured:
    """One form of a row in its process, run step by step.

    The process does its imports, which may be while another one measures, and waits for :meth:`begin`. Two can be
    alive and run in turn.

    Args:
        row: name of the row.
        form: 'ours' or the row's other form.
        device: 'cpu' or 'cuda'.
        precision: one of ``PRECISIONS``, of both forms of a row.
        clock: one of ``CLOCKS``.

    Raises:
        MeasurementError: here or later, if the process ends by itself.
    """

    def __init__(self, row: str, form: str, device: str, precision: str = "fp32", clock: str = "wall") -> None:
        self.what = f"{row} ({form})"
        self.seconds: list[float] = []
        processes = PROCESSES if device == "cpu" else APART
        self._pipe, theirs = processes.Pipe()
        self._process = processes.Process(target=serve, args=(theirs, row, form, device, precision, clock), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self) -> None:
        """Lets the process, which has done its imports, build what the form needs and take the first step."""
        self._pipe.send("begin")
        self._answer()

    def step(self) -> None:
        """Times one more step."""
        self._pipe.send("step")
        self.seconds.append(self._answer())

    def end(self) -> dict[str, float]:
        """Ends the process.

        Returns:
            ``median_s``, ``least_s``, ``most_s`` of ``count`` steps, ``peak_mib`` beyond what the process held
            before it built anything, and for ours ``flop`` (operations of a step's matrix products and convolutions),
            ``launches`` (operators of a step that compute something), ``rate`` (operations a second of a large matrix
            product) and ``copied`` (bytes a second that a large copy reads and writes).
        """
        self._pipe.send("end")
        found = self._answer()
        self._process.join()
        return {
            "median_s": statistics.median(self.seconds),
            "least_s": min(self.seconds),
            "most_s": max(self.seconds),
            "count": len(self.seconds),
            **found,
        }

    def kill(self) -> None:
        """Ends the process at once, if it is not at its end."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def _answer(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            why = " (killed: too little memory?)" if code == -9 else ""
            raise MeasurementError(f"{self.what} ended with exit code {code}{why}") from None


def preload() -> None:
    """Let the processes to come share the imports; to be called before the first of them.

    The script that is run is imported first: a clone's script sees to it that the clone's code is found.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    PROCESSES.set_forkserver_preload(["__main__", "hclip_mmseg.costs.rows"])


def measure(
    row: Row, device: str, repeat: int, seconds: float, precision: str = "fp32", clock: str = "wall"
) -> dict[str, dict[str, float]]:
    """Both forms of a row; see :func:`start` and :func:`measure_started`."""
    return measure_started(row, start(row, device, precision, clock), repeat, seconds)


def start(row: Row, device: str, precision: str = "fp32", clock: str = "wall") -> dict[str, Measured]:
    """The processes of both forms of a row, which do their imports and wait; see :class:`Measured`."""
    return {form: Measured(row.name, form, device, precision, clock) for form in ("ours", row.other)}


def measure_started(
    row: Row, processes: Mapping[str, Measured], repeat: int, seconds: float
) -> dict[str, dict[str, float]]:
    """Both forms of a row, whose processes are ended.

    Direct forms need much memory and are far away in time, so they have the machine alone, for up to ``seconds``
    (at least one step, at most ``repeat``). Others are compared with ours step by step, ``repeat`` times, so that
    both meet the same machine.

    Returns:
        'ours' and the other form -> see :meth:`Measured.end`.

    Raises:
        MeasurementError: if a process ends by itself.
    """
    try:
        if row.other != "direct":
            return _in_turn(processes, repeat, float("inf"))
        found: dict[str, dict[str, float]] = {}
        for form, process in processes.items():
            found |= _in_turn({form: process}, repeat, seconds)
        return found
    finally:
        for process in processes.values():
            process.kill()


def _in_turn(processes: Mapping[str, Measured], repeat: int, seconds: float) -> dict[str, dict[str, float]]:
    for process in processes.values():
        process.begin()
    start, steps = time.perf_counter(), 0
    while steps < repeat and (steps == 0 or time.perf_counter() - start < seconds):
        for process in processes.values():
            process.step()
        steps += 1
    return {form: process.end() for form, process in processes.items()}


def serve(pipe: Connection, name: str, form: str, device: str, precision: str = "fp32", clock: str = "wall") -> None:
    """Run the process of a :class:`Measured`.

    Args:
        pipe: takes 'begin', 'step' and 'end', and gives what is measured.
        name: of the row.
        form, device, precision, clock: see :class:`Measured`.
    """
    pipe.recv()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    before = peak_memory(device)
    if form != "direct":  # published code runs as torch is; our tools call this
        keep_freed_memory()
    row = ROWS[name]
    run = row.prepare(form, device)
    if form == "ours" and not row.training:
        run = as_predicted(run, device)
    bf16 = row.bf16(form) or precision == "bf16"
    dtype = torch.bfloat16 if bf16 else torch.float32
    with (
        torch.set_grad_enabled(row.training),
        torch.autocast(device, torch.bfloat16, enabled=bf16),
    ):
        timed(run, device)
        pipe.send("ready")
        while pipe.recv() == "step":
            pipe.send(timed(run, device, clock))
        found = {"peak_mib": max((peak_memory(device) - before) / 2**20, 1.0)}  # which is divided by
        if form == "ours":  # after the peak is taken, as counting holds memory of its own
            kernels = Kernels()

            def counted() -> None:
                with kernels:
                    run()

            found |= {
                "flop": operations(counted, row.training),
                "rate": matrix_product_rate(device, dtype, clock=clock),
            }
            found |= {"launches": kernels.calls.total(), "copied": copy_rate(device, clock)}
    pipe.send(found)


def as_predicted(step: Callable[[], object], device: str) -> Callable[[], object]:
    """A step in the arithmetic that the models predict in."""

    def run() -> object:
        with inference_arithmetic(torch.device(device)):
            return step()

    return run


def timed(step: Callable[[], object], device: str, clock: str = "wall") -> float:
    """Seconds of a step: by device events on a GPU, elsewhere by one of ``CLOCKS``."""
    if device == "cpu":
        start = CLOCKS[clock]()
        step()
        return CLOCKS[clock]() - start
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    step()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def copy_rate(device: str, clock: str = "wall") -> float:
    """Bytes a second that the best of five copies of 256 MiB reads and writes."""
    source = torch.zeros(1 << 26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(timed(lambda: target.copy_(source), device, clock) for _ in range(5))


def matrix_product_rate(device: str, dtype: torch.dtype, side: int | None = None, clock: str = "wall") -> float:
    """Operations a second of the best of up to five products of two large matrices, by the best kernel there is.

    On a CPU in fp32 that is torch's usual product or oneDNN's. Matrices of bf16 are smaller there, and all products end
    after a second, since a CPU without arithmetic of that dtype takes most of a minute for a product of 2048 x 2048.

    Args:
        device: 'cpu' or 'cuda'.
        dtype: of the matrices.
        side: of the matrices; None: one that is large for the device.
        clock: one of ``CLOCKS``.
    """
    side = side or (8192 if device == "cuda" else 2048 if dtype == torch.float32 else 1024)
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    products: list[Callable[[], object]] = [lambda: a @ b]
    if device == "cpu" and dtype == torch.float32 and torch.backends.mkldnn.is_available():
        products.append(lambda: onednn.product(a, b, None))
    return 2 * side**3 / min(_least_seconds(product, device, clock) for product in products)


def _least_seconds(product: Callable[[], object], device: str, clock: str) -> float:
    seconds: list[float] = []
    while len(seconds) < 5 and sum(seconds) < 1:
        seconds.append(timed(product, device, clock))
    return min(seconds)
