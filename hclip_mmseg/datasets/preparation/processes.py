"""Work on many files in several processes, which can be interrupted."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from hclip_mmseg.files.processes import end_with_parent

CHUNK = 16

Advance = Callable[[int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Options:
    """How a preparation is done.

    Attributes:
        check: read what was made and verify it, write nothing.
        partial: take a part of the data set for the whole.
        jobs: processes that work at once.
        progress: (what is being done, how many) -> context manager that yields a function to call with numbers done.
    """

    check: bool = False
    partial: bool = False
    jobs: int = 1
    progress: Callable[[str, int], AbstractContextManager[Advance]] | None = None


def each_chunk(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], title: str, options: Options
) -> Iterator[Result]:
    """What ``work`` makes of items, some at once, in as many processes as the options say.

    Args:
        work: items -> result; it is sent to other processes, which end with this one. An error ends everything.
        items: all there is to do.
        title: of the progress.
        options: ``jobs`` and ``progress``.

    Raises:
        ValueError: if one of the processes was killed.
    """
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    with _progress(options, title, len(items)) as advance:
        for index, result in _results(work, chunks, min(options.jobs, len(chunks))):
            yield result
            advance(len(chunks[index]))


def _results(
    work: Callable[[Sequence[Item]], Result], chunks: Sequence[Sequence[Item]], jobs: int
) -> Iterator[tuple[int, Result]]:
    if jobs <= 1:
        yield from ((index, work(chunk)) for index, chunk in enumerate(chunks))
        return
    # forked processes need not import everything again
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(jobs, context, initializer=_begin_worker) as pool:
        try:
            running = {pool.submit(work, chunk): index for index, chunk in enumerate(chunks)}
            for future in as_completed(running):
                yield running[future], future.result()
        except BrokenProcessPool as error:
            raise ValueError(
                f"one of {jobs} processes was killed, as happens where memory is short; what is made stays, and the "
                f"same command goes on from there: try it with --jobs {max(jobs // 2, 1)}"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)  # those at work end what they have
            raise


def _begin_worker() -> None:
    """Leave interrupts to the first process, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()


@contextmanager
def _progress(options: Options, title: str, total: int) -> Iterator[Advance]:
    if options.progress is None:
        yield lambda count: None
        return
    with options.progress(title, total) as advance:
        yield advance
