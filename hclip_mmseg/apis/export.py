"""Writing a config's model as a file that onnxruntime or torch alone runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hclip_mmseg.apis import launch
from hclip_mmseg.apis.images import list_images, read_image
from hclip_mmseg.apis.inferencer import build_model
from hclip_mmseg.apis.opening import open_model
from hclip_mmseg.apis.predict import classifies_masks
from hclip_mmseg.apis.question import Rules, ask
from hclip_mmseg.apis.record import versions
from hclip_mmseg.apis.settings import merge_settings
from hclip_mmseg.clip.templates import read_templates
from hclip_mmseg.datasets.published_resize import PublishedResize, published_resize_steps
from hclip_mmseg.export.canvas import Canvas, canvas_of
from hclip_mmseg.export.writing import SUFFIXES, check_form, check_target, write_model
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.vocabularies import read_vocabulary


def export(
    config: str,
    checkpoint: str | None,
    vocabulary: str,
    target: str | Path | None = None,
    *,
    form: str = "onnx",
    templates: str | Sequence[str] | None = None,
    dynamic: bool = False,
    half: bool = False,
    int8: bool = False,
    images: Sequence[str | Path] = (),
    resize: str = "published",
    settings: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write a model for a vocabulary, adapters folded and without the text tower.

    Args:
        config: path of a segmentor's or detector's config, or a name that ``hclip-models`` lists.
        checkpoint: its trained weights; None: what is published under the name, else CLIP as it is; see `build_model`.
        vocabulary: class names with commas between, a file of them, or a benchmark's name.
        target: the file, with its format's ending; None: the config's name with it, in the present folder.
        form: 'onnx', 'torchscript' or 'pt2'.
        templates: prompts, or a file of them; None keeps the config's.
        dynamic: whether the file takes any number of images at once.
        half: whether it computes in 16 bits.
        int8: whether an ONNX file's large matrices are stored in 8 bits, and other weights in 16.
        images: files and folders of images that ``int8`` is calibrated and measured on; none: rendered scenes.
        resize: how images are to be resized before: 'published' or 'direct'; see `OpenVocabInferencer`.
        settings: of the config to replace.

    Returns:
        Lines that say what was written.

    Raises:
        FileNotFoundError, ValueError, KeyError: if anything of these is missing or wrong.
    """
    check_form(form, half=half, int8=int8)
    if images and not int8:
        raise InputError("--images are for --int8, which is calibrated on them: add it")
    classes = read_vocabulary(vocabulary)
    path = check_target(Path(target or Path(config).stem + SUFFIXES[form]), form)
    launch.check_writable(path.parent, str(path))
    pixels = [read_image(source) for source in list_images(images)]
    cfg, trained, _ = open_model(config, checkpoint)
    merge_settings(cfg, settings or {})
    detects = "roi_head" in cfg.model
    if classifies_masks(cfg):
        raise InputError(f"{config} classifies masks: only segmentors and detectors are exported")
    _check_trained(detects, trained)
    model: Any = build_model(cfg, trained)
    steps: list[PublishedResize] | Canvas = published_resize_steps(cfg, resize)
    if detects:
        steps = canvas_of(cfg.test_dataloader.dataset.pipeline, model.data_preprocessor.pad_size_divisor)
    question = ask(classes, Rules(), model.roi_head.competitors(classes.names) if detects else ())
    model.set_vocabulary(question.compared, None if templates is None else read_templates(templates))
    return write_model(
        model, path, form, steps, dynamic=dynamic, half=half, int8=int8, images=pixels, versions=versions(),
        groups=question.groups, reported=question.reported,
    )  # fmt: skip


def _check_trained(detects: bool, checkpoint: object) -> None:
    if detects and checkpoint is None:
        raise InputError("a detector finds nothing without training: give its checkpoint")
