"""Writing a model's results for images into a folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from tqdm import tqdm

from hclip_mmseg.apis import images, launch
from hclip_mmseg.apis.image_inferencer import ImageInferencer
from hclip_mmseg.apis.inferencer import OpenVocabInferencer
from hclip_mmseg.apis.mixed_precision import predict_in_bf16
from hclip_mmseg.apis.onnx_inferencer import OnnxInferencer
from hclip_mmseg.apis.opening import open_model
from hclip_mmseg.apis.question import RULES, Rules, ask
from hclip_mmseg.apis.saved_vocabulary import is_saved, read_saved_vocabulary
from hclip_mmseg.apis.settings import merge_settings
from hclip_mmseg.clip.templates import read_templates, resolve_templates
from hclip_mmseg.datasets.published_resize import check_resize
from hclip_mmseg.demo_assets.scenes import SCENE_CLASSES
from hclip_mmseg.files.errors import FullDiskError, InputError, WriteError
from hclip_mmseg.files.paths import locate
from hclip_mmseg.files.result_names import name_results, tell_apart
from hclip_mmseg.files.run_folders import find_latest
from hclip_mmseg.files.scores import check_score
from hclip_mmseg.files.showing import counted, printable
from hclip_mmseg.results import ResultWriter, check_box_formats, check_formats, part_suffix, usual_formats
from hclip_mmseg.vocabularies import read_vocabulary

SCENE_WORDS = {word for name in SCENE_CLASSES for word in name.split()}
"""All words that the embedded model learnt."""


@dataclass(frozen=True)
class Prediction:
    """A model, the images to ask it about, and the folder for its results.

    Attributes:
        inferencer: with its vocabulary set.
        writer: writes the results.
        paths: of the images, or their addresses.
        batch_size: images that the model is given at once.
        part: (which, of how many) processes that share the images this one is, from 1.
    """

    inferencer: ImageInferencer | OnnxInferencer
    writer: ResultWriter
    paths: Sequence[str | Path]
    batch_size: int = 1
    part: tuple[int, int] = (1, 1)

    def run(self) -> bool:
        """Write every image's results, and name on stderr those that cannot be read.

        Returns:
            Whether all images were done.
        """
        failed: list[tuple[str, Exception]] = []
        names, ids, files = names_of(self.paths), image_ids(self.paths), tell_apart(self.paths)
        first, of = self.part
        paths = self.paths[first - 1 :: of]
        results = self.inferencer(
            paths, batch_size=self.batch_size, on_error=lambda source, error: failed.append((source, error))
        )
        with self.writer as writer, tqdm(total=len(paths), unit="image", disable=None) as bar:
            for result in results:
                source = result.source
                try:
                    writer.add(result, names[source], ids[source], files[source])
                except FullDiskError:
                    raise
                except (WriteError, OSError) as problem:
                    failed.append((source, ValueError(f"{source}: its result cannot be written: {problem}")))
                else:
                    bar.write(printable(f"{source}: {result.summary()}"))
                bar.update()
        for _, error in failed:
            print(printable(f"error: {error}"), file=sys.stderr)
        print(f"{len(paths) - len(failed)} of {len(paths)} images done, results in {self.writer.folder}")
        return not failed


@dataclass(frozen=True)
class ModelChoice:
    """Which model answers, and how it is opened.

    Attributes:
        config: path of the model's config, or a name that ``hclip-models`` lists.
        checkpoint: its trained weights; None: what is published under the name, else the latest of the config's own
            runs, if any.
        settings: of the config to replace, such as ``{"model.backbone.adapter": None}``.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.
        resize: 'published' or 'direct'; see `OpenVocabInferencer`. Only segmentors take 'direct'.
        panoptic: whether to give segments, with things one by one; mask classifiers only.
        offline: whether the network must not be used for a name's weights.
        amp: whether to predict in bfloat16, where the device has it.
    """

    config: str
    checkpoint: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    resize: str = "published"
    panoptic: bool = False
    offline: bool = False
    amp: bool = False

    def read(self, things: bool) -> tuple[Config, str | Path | None]:
        """The config, and the weights to read, if any; says where these come from if they were not named.

        Args:
            things: whether the model is asked for things one by one.
        """
        launch.choose_device(self.device)
        cfg, trained, config = open_model(self.config, self.checkpoint, offline=self.offline)
        merge_settings(cfg, self.settings)
        if things and not classifies_masks(cfg):
            raise ValueError(f"{config} gives no panoptic results: --panoptic takes a config that classifies masks")
        check_resize(self.resize, cfg)
        trained = trained or latest_checkpoint(config)
        if trained is None and "decode_head" in cfg.model:
            print(f"no trained checkpoint of {config} found: using its CLIP as it is, without a trained head")
        return cfg, trained


@dataclass(frozen=True)
class Output:
    """Where results are written, and in which forms.

    Attributes:
        folder: made where it is missing.
        formats: see :data:`~hclip_mmseg.results.FORMATS`; None: label maps and overlays, panoptic files, or boxes, as
            the model gives them.
        part: (which, of how many) processes that share the images this one is, from 1.
        drawing: arguments of :meth:`~hclip_mmseg.results.Result.overlay`.
    """

    folder: str | Path = "predictions"
    formats: str | Sequence[str] | None = None
    part: tuple[int, int] = (1, 1)
    drawing: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise an error if there is no such format, a number of the drawing is wrong, or the folder is closed."""
        if self.formats is not None:
            check_formats(self.formats)
        for name in ("alpha", "min_score"):
            check_score(self.drawing.get(name, 0), name)
        launch.check_writable(self.folder, "--out-dir")

    def writer(self, usual: Sequence[str]) -> ResultWriter:
        """Writes results, in the usual formats where none are chosen."""
        wanted = usual if self.formats is None else check_formats(self.formats)
        return ResultWriter(self.folder, wanted, part_suffix(*self.part), **self.drawing)


def prepare_prediction(
    sources: Sequence[str | Path],
    vocabulary: str,
    model: ModelChoice,
    output: Output,
    *,
    templates: str | None = None,
    stuff: str | None = None,
    recursive: bool = False,
    batch_size: int = 1,
    save_vocab: str | None = None,
    **rules: Any,
) -> Prediction:
    """Build the model and check all that it is asked.

    Args:
        sources: images, folders of images, patterns, http addresses, or "-" for the standard input.
        vocabulary: class names with commas between, a file of them, or a benchmark's name.
        model, output: see there.
        templates: prompts; see `OpenVocabInferencer`.
        stuff: the class names that are not counted one by one; mask classifiers only.
        recursive: whether the folders inside a folder are looked into.
        batch_size: images that the model is given at once, if they follow each other and have one size.
        save_vocab: file for the class names with their embeddings, which ``vocabulary`` may then be.
        rules: what competes with the class names, and when a pixel has none of them; see
            :class:`~hclip_mmseg.apis.question.Rules`.

    Raises:
        FileNotFoundError, ValueError, KeyError: if anything of these is missing or wrong.
    """
    saved = is_saved(vocabulary)
    classes = read_saved_vocabulary(vocabulary).vocabulary if saved else read_vocabulary(vocabulary)
    if save_vocab is not None and not is_saved(save_vocab):
        raise InputError(f"--save-vocab takes a file that ends in .safetensors, not {save_vocab}")
    if batch_size < 1:
        raise InputError(f"--batch-size is a number of images, at least 1, not {batch_size}")
    paths = images.list_images(sources, recursive)
    images.check_some(paths)
    ask(classes, Rules(**rules))
    if templates is not None:
        resolve_templates(read_templates(templates))
    output.check()
    cfg, trained = model.read(things=model.panoptic or bool(stuff))
    writer = output.writer(usual_formats(boxes="roi_head" in cfg.model, panoptic=model.panoptic))
    if "roi_head" in cfg.model:
        check_box_formats(writer.formats)
    beside = any(rules.get(name) is not None for name in ("background", "negatives", "threshold"))
    for line in warnings_about(cfg, classes.titles, trained, beside):
        print(line)
    inferencer = open_inferencer(cfg, trained, model.device, model.panoptic, model.resize)
    if model.amp:
        predict_in_bf16(inferencer.model)
    inferencer.set_vocabulary(vocabulary if saved else classes, templates, stuff, **rules)
    if save_vocab is not None:
        inferencer.save_vocabulary(save_vocab)
        print(f"embeddings of {counted(len(inferencer.question.compared), 'name')} saved in {save_vocab}")
    return Prediction(inferencer, writer, paths, batch_size, output.part)


MODELS_ALONE = (*RULES, "templates", "save_vocab", "checkpoint", "cfg_options", "panoptic", "stuff", "amp")
"""Options of hclip-predict that an exported file cannot follow."""


def prepare_exported(
    sources: Sequence[str | Path],
    file: str | Path,
    output: Output,
    *,
    recursive: bool = False,
    given: Mapping[str, Any] | None = None,
) -> Prediction:
    """Open a model that hclip-export wrote in ONNX, with the class names that it was written for.

    Args:
        sources, output, recursive: see :func:`prepare_prediction`.
        file: the model.
        given: the command's other options, by name; those of :data:`MODELS_ALONE` must be empty.

    Raises:
        FileNotFoundError, ValueError: if anything of these is missing or wrong.
    """
    for name in MODELS_ALONE:
        if (given or {}).get(name):
            raise InputError(
                f"--{name.replace('_', '-')} is for models: a file of hclip-export has its own class names and "
                "prompts, and no rules"
            )
    paths = images.list_images(sources, recursive)
    images.check_some(paths)
    output.check()
    inferencer = OnnxInferencer(file)
    boxes = inferencer.onnx.description.kind == "boxes"
    writer = output.writer(usual_formats(boxes=boxes))
    if boxes:
        check_box_formats(writer.formats)
    return Prediction(inferencer, writer, paths, part=output.part)


def read_part(text: str) -> tuple[int, int]:
    """(which, of how many) from a text such as "1/4".

    Raises:
        ValueError: if it is no such text.
    """
    which, _, count = text.partition("/")
    if not (which.isdecimal() and count.isdecimal() and 1 <= int(which) <= int(count)):
        raise InputError(f"--part is which of how many processes this is, such as 1/4, not '{text}'")
    return int(which), int(count)


def warnings_about(cfg: Config, names: Sequence[str], checkpoint: str | Path | None, beside: bool = False) -> list[str]:
    """What a person should know of the answers to come: a line each.

    Args:
        cfg: the model's config.
        names: the class names that are asked for.
        checkpoint: the model's trained weights, if any.
        beside: whether something competes with the names, or a threshold leaves pixels out.
    """
    lines = []
    words = {word for name in names for word in name.lower().replace(",", " ").split()}
    clip = (cfg.model.get("backbone") or {}).get("clip") or {}
    if "demo_assets/" in str(clip.get("model")) and not words <= SCENE_WORDS:
        lines.append(
            "this model knows rendered shapes alone, such as 'red striped circle' on 'grass', and says nothing about "
            "photographs: for those train or download one, and give --config configs/hclip/hclip_vitb16_coco-stuff.py "
            "--checkpoint FILE"
        )
    if len(names) == 1 and not beside and cfg.model.type.rpartition(".")[2] == "OpenVocabSegmentor":
        weak = ", or leave out weak pixels by --threshold 0.5" if checkpoint else ""
        if (cfg.model.get("test_cfg") or {}).get("score_threshold") is None:
            lines.append(f"'{names[0]}' alone takes every pixel: give by --background what else there may be{weak}")
    return lines


def latest_checkpoint(config: str | Path) -> str | None:
    """The latest checkpoint of a config's own runs, if any; says which."""
    runs = locate(launch.default_work_dir(config))
    latest = find_latest(runs) if runs else None
    if latest is None:
        return None
    print(f"using {latest}")
    return str(latest)


def classifies_masks(cfg: Config) -> bool:
    """Whether a config's model classifies masks, and so has panoptic results."""
    return cfg.get("default_scope") == "mmdet" and "roi_head" not in cfg.model


def open_inferencer(
    cfg: Config, checkpoint: str | Path | None, device: str, panoptic: bool, resize: str = "published"
) -> ImageInferencer:
    """The inferencer for a config's model."""
    if "roi_head" in cfg.model:  # a head for regions: a detector
        from hclip_mmseg.apis.detection_inferencer import DetectionInferencer

        return DetectionInferencer(cfg, checkpoint, device)
    if classifies_masks(cfg):
        from hclip_mmseg.apis.panoptic_inferencer import PanopticInferencer

        return PanopticInferencer(cfg, checkpoint, device, panoptic=panoptic)
    return OpenVocabInferencer(cfg, checkpoint, device, resize)


def names_of(paths: Sequence[str | Path]) -> dict[str, str]:
    """Image -> the name of its results, for files, addresses and the standard input; see `name_results`."""
    called = {
        str(path): Path("stdin" if path == images.STDIN else str(path).replace("?", "_").replace("&", "_"))
        if isinstance(path, str)
        else path
        for path in paths
    }
    names = name_results(list(called.values()))
    return {path: names[str(called[path])] for path in called}


def image_ids(paths: Sequence[str | Path]) -> dict[str, int]:
    """Image -> its id in COCO's forms: the number that it is called by, where all are and differ; else its place."""
    distinct = list(dict.fromkeys(map(str, paths)))
    stems = [Path(path).stem for path in distinct]
    if all(stem.isascii() and stem.isdecimal() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return dict(zip(distinct, map(int, stems), strict=True))
    return {path: place for place, path in enumerate(distinct, 1)}
