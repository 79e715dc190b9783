"""Looking at all annotated images before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table

from hclip_mmseg.datasets.own.meaning import Meaning
from hclip_mmseg.datasets.own.source import Numbers, Sample, Source
from hclip_mmseg.datasets.preparation.processes import Options, each_chunk
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.images import read_size
from hclip_mmseg.files.showing import printable

SHOWN = 8


@dataclass
class Seen:
    """What was found in annotated images.

    Attributes:
        pixels: name of an image -> number -> how many pixels have it.
        problems: what is wrong, a line each.
    """

    pixels: dict[str, dict[int, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def total(self) -> Counter[int]:
        """Number -> how many pixels have it in all images."""
        total: Counter[int] = Counter()
        for counts in self.pixels.values():
            total.update(counts)
        return total


def look(source: Source, options: Options) -> Seen:
    """Read every annotation and its image's size.

    Raises:
        ValueError: if some cannot be read, or have not their images' size: all of them counted, the first named.
    """
    seen = Seen()
    for some in each_chunk(partial(_look, read=source.read), source.samples, "looking", options):
        seen.pixels |= some.pixels
        seen.problems += some.problems
    if seen.problems:
        more = f"\n  and {len(seen.problems) - SHOWN} more" if len(seen.problems) > SHOWN else ""
        raise InputError(
            f"{len(seen.problems)} of {len(source.samples)} annotated images are not as they should be:\n  "
            + "\n  ".join(seen.problems[:SHOWN])
            + more
        )
    return seen


def _look(samples: Sequence[Sample], read: Callable[[Sample], Numbers]) -> Seen:
    seen = Seen()
    for sample in samples:
        try:
            numbers = read(sample)
            height, width = read_size(sample.image)
        except ValueError as error:
            seen.problems.append(str(error))
            continue
        if numbers.shape != (height, width):
            seen.problems.append(
                f"the annotation of {sample.image} is {numbers.shape[1]} x {numbers.shape[0]} pixels, the image "
                f"{width} x {height}: they must have one size, as the pixels are stored (EXIF turns nothing)"
            )
            continue
        found, counts = np.unique(numbers, return_counts=True)
        seen.pixels[sample.name] = dict(zip(found.tolist(), counts.tolist(), strict=True))
    return seen


def class_pixels(pixels: Mapping[str, Mapping[int, int]], meaning: Meaning) -> dict[str, Counter[int]]:
    """Name of an image -> label -> how many pixels have it, ``ignore_index`` among them."""
    labelled: dict[str, Counter[int]] = {}
    for name, counts in pixels.items():
        labelled[name] = Counter()
        for number, count in counts.items():
            labelled[name][meaning.labels[number]] += count
    return labelled


def table_of_classes(
    labelled: Mapping[str, Mapping[int, int]],
    meaning: Meaning,
    held_out: Sequence[str],
    splits: Mapping[str, Sequence[str]],
) -> str:
    """Pixels and images of each class, in each part of the data."""
    table = Table(title=f"{len(labelled)} images")
    table.add_column("label", justify="right")
    table.add_column("class")
    table.add_column("pixels", justify="right")
    for split in splits:
        table.add_column(f"{split} images", justify="right")
    total = sum(sum(counts.values()) for counts in labelled.values()) or 1
    rows = [*enumerate(meaning.titles), (meaning.ignore_index, "(ignored)")]
    for label, title in rows:
        pixels = sum(counts.get(label, 0) for counts in labelled.values())
        images = [str(sum(labelled[name].get(label, 0) > 0 for name in names)) for names in splits.values()]
        name = f"{title} (held out)" if title in held_out else title
        table.add_row(str(label), printable(name), f"{pixels / total:.2%}", *images)
    console = Console(width=110, no_color=True, file=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()


def warnings_of(
    labelled: Mapping[str, Mapping[int, int]],
    meaning: Meaning,
    held_out: Sequence[str],
    splits: Mapping[str, Sequence[str]],
) -> list[str]:
    """What will make a training or its figures say little."""
    found = []
    for split, names in splits.items():
        wanted = [t for t in meaning.titles if split == "val" or t not in held_out]
        absent = [t for t in wanted if not any(labelled[n].get(meaning.titles.index(t), 0) for n in names)]
        if absent:
            found.append(f"classes without a pixel in {split}: {', '.join(absent[:8])}")
    if len(meaning.titles) - len(held_out) == 1:
        found.append("one class alone is trained: with nothing to tell it from, its mIoU says little")
    return found
