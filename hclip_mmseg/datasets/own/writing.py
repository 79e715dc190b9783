"""Writing label maps, lists, a config of the data set and a sheet of overlays."""

from __future__ import annotations

import pprint
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from hclip_mmseg.datasets.own.meaning import Meaning
from hclip_mmseg.datasets.own.source import Numbers, Sample, Source
from hclip_mmseg.datasets.preparation.files import save_whole
from hclip_mmseg.datasets.preparation.processes import Options, each_chunk
from hclip_mmseg.files.images import read_pixels
from hclip_mmseg.files.writing import write_image, write_whole
from hclip_mmseg.visualization.overlay import draw_overlay

CELL = 320
SHEET = 12


def write_label_maps(source: Source, names: Sequence[str], meaning: Meaning, folder: Path, options: Options) -> None:
    """Write label maps ``<folder>/<name>.png``, of 8 bits, or of 16 for more than 255 classes."""
    wanted = set(names)
    samples = [sample for sample in source.samples if sample.name in wanted]
    work = partial(_write_some, read=source.read, meaning=meaning, folder=folder)
    for _ in each_chunk(work, samples, "writing label maps", options):
        pass


def _write_some(samples: Sequence[Sample], read: Callable[[Sample], Numbers], meaning: Meaning, folder: Path) -> None:
    for sample in samples:
        save_whole(folder / f"{sample.name}.png", meaning.label(read(sample)))


def write_lists(parts: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Write ``train.txt`` and ``val.txt``, a name a line."""
    for part, names in parts.items():
        write_whole(folder / f"{part}.txt", "".join(f"{name}\n" for name in names))


def write_dataset_config(
    path: Path, name: str, images: Path, meaning: Meaning, held_out: Sequence[str], repeat_below: float | None = None
) -> None:
    """Write the data set's config: ``training`` and ``validation``, settings of ``FolderDataset``."""
    rare = f", repeat_below={repeat_below}" if repeat_below else ""
    titles = pprint.pformat(list(meaning.titles), width=110, compact=True).replace("\n", "\n    ")
    write_whole(
        path,
        f'"""The data set {name.translate(str.maketrans("", "", chr(34) + chr(92)))}: yours to edit."""\n\n'
        "data = dict(\n"
        '    type="mmseg.FolderDataset",\n'
        '    data_root="{{ fileDirname }}",\n'
        f'    data_prefix=dict(img_path={images.absolute().as_posix()!r}, seg_map_path="labels"),\n'
        f"    classes={titles},  # in label order; synonyms behind commas\n"
        f"    held_out={list(held_out)},  # evaluated and not trained\n"
        ")\n"
        f'training = dict(data, ann_file="train.txt"{rare})\n'
        'validation = dict(data, ann_file="val.txt", test_mode=True)\n',
    )


def write_sheet(path: Path, source: Source, names: Sequence[str], meaning: Meaning, seed: int = 0) -> None:
    """Write one image of up to 12 overlays, drawn by the seed, each with a legend."""
    by_name = {sample.name: sample for sample in source.samples}
    drawn = np.random.default_rng(seed).permutation(len(names))[:SHEET]
    cells = [_cell(by_name[names[index]], source, meaning) for index in sorted(drawn)]
    columns = min(4, len(cells))
    rows = -(-len(cells) // columns)
    width, height = max(cell.width for cell in cells), max(cell.height for cell in cells)
    sheet = Image.new("RGB", (columns * width, rows * height), (255, 255, 255))
    for place, cell in enumerate(cells):
        sheet.paste(cell, (place % columns * width, place // columns * height))
    write_image(path, sheet, quality=90)


def _cell(sample: Sample, source: Source, meaning: Meaning) -> Image.Image:
    labels = Image.fromarray(meaning.label(source.read(sample)).astype(np.int32))
    image = Image.fromarray(read_pixels(sample.image, sample.image, upright=False))
    scale = CELL / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    small = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    return Image.fromarray(
        draw_overlay(
            small, np.asarray(labels.resize(size, Image.Resampling.NEAREST)), meaning.titles, title=sample.name
        )
    )
