"""From a folder of annotated images to what ``hclip-train`` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hclip_mmseg.apis.launch import check_writable
from hclip_mmseg.apis.own_training import Training, training_config
from hclip_mmseg.apis.prepare import progress_bar
from hclip_mmseg.datasets.folder import find_titles
from hclip_mmseg.datasets.own.kinds import open_source
from hclip_mmseg.datasets.own.look import class_pixels, look, table_of_classes, warnings_of
from hclip_mmseg.datasets.own.meaning import Meaning, find_meaning
from hclip_mmseg.datasets.own.source import Source, shown_some
from hclip_mmseg.datasets.own.split import split, trained
from hclip_mmseg.datasets.own.writing import write_dataset_config, write_label_maps, write_lists, write_sheet
from hclip_mmseg.datasets.preparation.processes import Options
from hclip_mmseg.engine.threads import core_count, processor_quota
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.image_names import images_by_name
from hclip_mmseg.files.writing import write_whole
from hclip_mmseg.vocabularies import read_vocabulary


@dataclass(frozen=True)
class OwnData:
    """Annotated images, and what is said about them.

    Attributes:
        images: their folder.
        masks: the annotation, a folder or a JSON file.
        classes: names in the order of the labels, as ``read_vocabulary`` reads them; None: the annotation's own.
        held_out: names that are evaluated and not trained.
        val: share, folders or a file; see :func:`~hclip_mmseg.datasets.own.split.split`.
        seed: of the split and the overlays.
        kind, colours, mask_suffix, panoptic_masks: see :func:`~hclip_mmseg.datasets.own.kinds.open_source`.
        unlabelled, ignored, first_label: see :func:`~hclip_mmseg.datasets.own.meaning.find_meaning`.
        repeat_below: of ``FolderDataset``; None: none.
        jobs: processes that read at once; None: one a core.

    Raises:
        ValueError: if a number is none that it can be.
    """

    images: Path
    masks: Path
    classes: str | Sequence[str] | None = None
    held_out: str | Sequence[str] = ()
    val: str | None = None
    seed: int = 0
    kind: str | None = None
    colours: str | None = None
    mask_suffix: str | None = None
    panoptic_masks: Path | None = None
    unlabelled: str | None = None
    ignored: Sequence[int] = field(default=())
    first_label: int | None = None
    repeat_below: float | None = None
    jobs: int | None = None

    def __post_init__(self) -> None:
        numbers = (("--seed", self.seed, 0), ("--jobs", self.jobs, 1), ("--first-label", self.first_label, 0))
        for option, number, least in numbers:
            if number is not None and number < least:
                raise InputError(f"{option} must be at least {least}, not {number}")
        if self.repeat_below is not None and not 0 < self.repeat_below <= 1:
            raise InputError(f"--repeat-below is a share above 0 and at most 1, not {self.repeat_below}")


@dataclass(frozen=True)
class FoundData:
    """What annotated images were found to hold, before anything is written.

    Attributes:
        source: the annotation.
        meaning: of its labels.
        held_out: titles that are evaluated and not trained.
        labelled: image -> label -> number of pixels.
        parts: "train" and "val" -> their images.
        assumed: what was not said and taken as likely, a line each.
    """

    source: Source
    meaning: Meaning
    held_out: Sequence[str]
    labelled: Mapping[str, Mapping[int, int]]
    parts: Mapping[str, list[str]]
    assumed: Sequence[str]

    @property
    def used(self) -> list[str]:
        """The images of training and validation."""
        return [*self.parts["train"], *self.parts["val"]]

    @property
    def best(self) -> str:
        """The figure by which the best checkpoint is chosen: of the classes held out, where validation shows any."""
        places = [self.meaning.titles.index(title) for title in self.held_out]
        shown = any(self.labelled[image].get(place) for image in self.parts["val"] for place in places)
        return "mIoU_unseen" if shown else "mIoU"

    def report(self, name: str, images: int) -> str:
        """Lines about the data set of this name, out of so many images: its classes, what was assumed, warnings."""
        classes = (self.labelled, self.meaning, self.held_out, self.parts)
        return "\n".join(
            [
                f"{name}: {self.source.kind}, {len(self.source.samples)} of {images} images annotated",
                table_of_classes(*classes),
                *(f"assumed: {line}" for line in self.assumed),
                *(f"warning: {line}" for line in warnings_of(*classes)),
            ]
        )


def find_data(data: OwnData, images: Mapping[str, Path], options: Options) -> FoundData:
    """Look at all annotated images, and split them.

    Args:
        data: what is said about them.
        images: name -> file of all images, annotated or not.
        options: how they are read.

    Raises:
        FileNotFoundError, ValueError: if files are missing or wrong: which, and what to do.
    """
    titles = None if data.classes is None else read_vocabulary(data.classes).titles
    source = open_source(
        images,
        data.masks,
        titles,
        kind=data.kind,
        colours=data.colours,
        suffix=data.mask_suffix,
        panoptic_masks=data.panoptic_masks,
    )
    seen = look(source, options)
    meaning = find_meaning(
        source,
        seen.total,
        titles,
        unlabelled=data.unlabelled,
        ignored=data.ignored,
        first_label=data.first_label,
    )
    held_out = find_titles(data.held_out, meaning.titles)
    labelled = class_pixels(seen.pixels, meaning)
    parts, assumed_parts = split(sorted(labelled), data.val, data.seed)
    labels = {label for label, title in enumerate(meaning.titles) if title not in held_out}
    parts["train"], empty = trained(labelled, parts["train"], labels)
    assumed = [*source.notes, *meaning.assumed, *assumed_parts]
    if empty:
        assumed.append(f"{len(empty)} images show no trained class and are left out of training: {shown_some(empty)}")
    if not parts["train"]:
        raise InputError("no image for training shows a class that is trained: hold out fewer classes")
    return FoundData(source, meaning, held_out, labelled, parts, assumed)


def new_dataset(
    name: str,
    data: OwnData,
    training: Training,
    *,
    out_dir: str | Path = "work_dirs",
    check: bool = False,
    overwrite: bool = False,
) -> None:
    """Look at annotated images, and write label maps, lists, overlays and two configs for them.

    Prints what was found and assumed. All is looked at before anything is written.

    Args:
        name: of the data set, and of its folder in ``out_dir``.
        data, training: see there.
        out_dir: where the folder is made.
        check: write nothing.
        overwrite: replace configs that are there, and with them whatever was changed in them.

    Raises:
        FileNotFoundError, ValueError: if files are missing or wrong: which, and what to do.
    """
    folder = Path(out_dir) / name
    config, dataset = folder / "config.py", folder / "dataset.py"
    if Path(name).name != name or not name.strip("."):
        raise InputError(f"'{name}' is to be the name of a folder in {out_dir}")
    there = next((path for path in (config, dataset) if path.exists()), None)
    if there is not None and not overwrite and not check:
        raise InputError(f"{there} is there already: give another name, or --overwrite")
    if not check:
        check_writable(folder, "--out-dir")
    options = Options(jobs=data.jobs or core_count(processor_quota()), progress=progress_bar)

    images = images_by_name(data.images)
    found = find_data(data, images, options)
    report = found.report(name, len(images))
    print(report)
    titles, held_out = found.meaning.titles, found.held_out
    text = training_config(name, training, len(found.parts["train"]), titles, held_out, found.best)
    if check:
        print("nothing was written (--check)")
        return
    write_label_maps(found.source, found.used, found.meaning, folder / "labels", options)
    write_lists(found.parts, folder)
    write_sheet(folder / "overlays.jpg", found.source, found.used, found.meaning, data.seed)
    write_whole(folder / "report.txt", f"{report}\n")
    write_dataset_config(dataset, name, data.images, found.meaning, held_out, data.repeat_below)
    write_whole(config, text)
    print(
        f"wrote {folder}: look at overlays.jpg first; dataset.py and config.py are yours to edit\n"
        f"next: hclip-train {config}"
    )
