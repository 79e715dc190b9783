"""Label maps made from what data sets' owners distribute: on all cores, each whole or not at all, resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from hclip_mmseg.datasets.preparation.files import Labels, is_whole, read_colours, read_label_map, save_whole
from hclip_mmseg.datasets.preparation.processes import Options, each_chunk
from hclip_mmseg.files.images import read_size
from hclip_mmseg.files.writing import remove_dead_parts, whole

SHOWN = 5


@dataclass(frozen=True)
class LabelMap:
    """One label map.

    Attributes:
        image: what it labels.
        source: the owners' file that it is made from.
        target: where it is written; the source itself where that is read as it is.
    """

    image: Path
    source: Path
    target: Path


@dataclass(frozen=True)
class Split:
    """The label maps of a part of a data set.

    Attributes:
        name: of the part.
        expected: how many the whole part has.
        maps: those that there are.
        lists: file -> names of images; written once every label map of the part is there.
    """

    name: str
    expected: int
    maps: Sequence[LabelMap]
    lists: Mapping[Path, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversion:
    """All label maps of one kind.

    Attributes:
        title: of the data set, for messages.
        splits: its parts; those that are not there are left out.
        convert: source -> labels ``[H, W]``; raises ValueError naming the file. It is sent to other processes. None:
            sources are label maps already, and are only checked.
        classes: labels are 0 .. classes - 1,
        ignore: and this one, where there is one.
        colours: whether label maps are written as colours, red for the lower and green for the upper 8 bits.
    """

    title: str
    splits: Sequence[Split]
    convert: Callable[[Path], Labels] | None
    classes: int
    ignore: int | None = None
    colours: bool = False


@dataclass
class Outcome:
    """What came of some label maps: target -> what was wrong with it; which labels occur."""

    problems: dict[Path, str] = field(default_factory=dict)
    labels: set[int] = field(default_factory=set)


class LabelMapsError(ValueError):
    """Some label maps could not be made, or are not what they should be; all others are done."""


def those_there(splits: Iterable[Split], where: Path, how_to_get: str) -> list[Split]:
    """The parts that have images.

    Raises:
        FileNotFoundError: if none has any: where they were looked for, and how to get them.
    """
    there = [split for split in splits if split.maps]
    if not there:
        raise FileNotFoundError(f"no images below {where.absolute()}. {how_to_get}")
    return there


def carry_out(conversion: Conversion, options: Options) -> list[str]:
    """Makes the label maps of a conversion that are not there yet, or checks them all.

    Returns:
        What was found, a line each.

    Raises:
        FileNotFoundError: if images, sources or, for a check, label maps or lists are missing, before any work.
        ValueError: if numbers of images are not the official ones, before any work.
        LabelMapsError: when all else is done, if files could not be converted or label maps are wrong: how many, and
            the first of them. Parts without any have their lists then.
    """
    maps = [label_map for split in conversion.splits for label_map in split.maps]
    if not options.partial:
        _verify_counts(conversion)
    _verify_files(conversion, maps, options.check)
    for folder in {label_map.target.parent for label_map in maps}:
        remove_dead_parts(folder)
    checked = options.check or conversion.convert is None
    todo = maps if checked else [label_map for label_map in maps if not is_whole(label_map.target)]
    outcome = _work(conversion, todo, checked, options)
    if not options.check:
        good = [
            split
            for split in conversion.splits
            if not any(label_map.target in outcome.problems for label_map in split.maps)
        ]
        _write_lists(good)
    if outcome.problems:
        raise LabelMapsError(
            f"{len(outcome.problems)} of {len(todo)} label maps of {conversion.title} are not as they should be, the "
            "others are good and stay; unpack these anew, or move their images away and pass --partial to go without "
            f"them:\n  {first(list(outcome.problems.values()), separator=chr(10) + '  ')}"
        )
    counts = ", ".join(f"{len(split.maps):,} in {split.name}" for split in conversion.splits)
    if checked:
        occurring = len(outcome.labels - {conversion.ignore})
        return [f"{conversion.title}: {counts}; all checked, {occurring} of {conversion.classes} labels occur"]
    return [f"{conversion.title}: {counts}; {len(todo):,} made now, {len(maps) - len(todo):,} were there"]


def verify(labels: Labels, label_map: LabelMap, classes: int, ignore: int | None) -> set[int]:
    """The labels that occur in a label map.

    Raises:
        ValueError: if one is none of the data set's, or the map has not its image's size.
    """
    occurring = set(np.flatnonzero(np.bincount(labels.ravel())).tolist())
    outside = sorted(label for label in occurring if label >= classes and label != ignore)
    if outside:
        allowed = f"0 to {classes - 1}" + ("" if ignore is None else f" and {ignore}")
        raise ValueError(f"{label_map.target} has the label {outside[0]}; {allowed} are the data set's")
    height, width = read_size(label_map.image)
    if labels.shape != (height, width):
        raise ValueError(
            f"{label_map.target} would be {labels.shape[1]} x {labels.shape[0]}, but its image is {width} x {height}"
        )
    return occurring


def _verify_counts(conversion: Conversion) -> None:
    wrong = [split for split in conversion.splits if len(split.maps) != split.expected]
    if wrong:
        listed = ", ".join(f"{len(split.maps):,} of {split.expected:,} in {split.name}" for split in wrong)
        raise ValueError(
            f"{conversion.title} is not complete: {listed} images. Unpack it again, or pass --partial to take what "
            "is there"
        )


def _verify_files(conversion: Conversion, maps: Sequence[LabelMap], check: bool) -> None:
    wanted = [path for label_map in maps for path in (label_map.image, label_map.target if check else label_map.source)]
    lists = {path: names for split in conversion.splits for path, names in split.lists.items()} if check else {}
    wanted += lists
    missing = [str(path) for path in wanted if not path.is_file()]
    stale = [str(path) for path, names in lists.items() if path.is_file() and not _lists(path, names)]
    if stale:
        raise ValueError(f"{first(stale)} lists other images than there are; run it without --check to write it anew")
    if missing:
        hint = "; run it without --check to make label maps" if check else ""
        raise FileNotFoundError(f"{len(missing)} files of {conversion.title} are missing: {first(missing)}{hint}")


def _write_lists(splits: Sequence[Split]) -> None:
    for split in splits:
        for path, names in split.lists.items():
            with whole(path) as part:
                part.write_text("".join(f"{name}\n" for name in names))


def _lists(path: Path, names: Sequence[str]) -> bool:
    return path.read_text().split("\n") == [*names, ""]


def _work(conversion: Conversion, todo: Sequence[LabelMap], checked: bool, options: Options) -> Outcome:
    work = partial(_convert_some, conversion=replace(conversion, splits=()), checked=checked)
    total = Outcome()
    for outcome in each_chunk(work, todo, f"{conversion.title}: {'checking' if checked else 'making'}", options):
        total.problems |= outcome.problems
        total.labels |= outcome.labels
    return total


def _convert_some(maps: Sequence[LabelMap], conversion: Conversion, checked: bool) -> Outcome:
    """Makes label maps, or checks them. What is wrong with one does not stop the others."""
    outcome = Outcome()
    for label_map in maps:
        try:
            if checked or conversion.convert is None:
                labels = _read_target(label_map.target, conversion.colours)
            else:
                labels = conversion.convert(label_map.source)
            outcome.labels |= verify(labels, label_map, conversion.classes, conversion.ignore)
        except ValueError as error:
            outcome.problems[label_map.target] = str(error)
            continue
        if not checked:
            save_whole(label_map.target, _as_colours(labels) if conversion.colours else labels)
    return outcome


def _as_colours(labels: Labels) -> Labels:
    return np.stack([labels % 256, labels // 256, np.zeros_like(labels)], axis=-1).astype(np.uint8)


def _read_target(path: Path, colours: bool) -> Labels:
    if not colours:
        return read_label_map(path)
    pixels = read_colours(path).astype(np.uint16)
    return pixels[..., 0] + 256 * pixels[..., 1]


def first(items: Sequence[str], separator: str = ", ") -> str:
    """Some of a list, as a message says it."""
    return separator.join(items[:SHOWN]) + (f"{separator}and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
