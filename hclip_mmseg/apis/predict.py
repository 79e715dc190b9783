"""Writing a model's results for images into a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from tqdm import tqdm

from hclip_mmseg.apis import images, launch
from hclip_mmseg.apis.image_inferencer import ImageInferencer
from hclip_mmseg.apis.inferencer import OpenVocabInferencer, Segmentation
from hclip_mmseg.apis.settings import merge_settings
from hclip_mmseg.datasets.published_resize import check_resize
from hclip_mmseg.demo_assets.scenes import SCENE_CLASSES
from hclip_mmseg.files.errors import FullDiskError, WriteError
from hclip_mmseg.files.paths import locate
from hclip_mmseg.files.result_names import name_results
from hclip_mmseg.files.run_folders import find_latest
from hclip_mmseg.files.showing import printable
from hclip_mmseg.files.writing import write_image
from hclip_mmseg.visualization import write_label_map
from hclip_mmseg.vocabularies import read_vocabulary

SCENE_WORDS = {word for name in SCENE_CLASSES for word in name.split()}
"""All words that the embedded model learnt."""

if TYPE_CHECKING:
    from hclip_mmseg.apis.detection_inferencer import Detections
    from hclip_mmseg.mask_classification.segments import PanopticSegmentation


@dataclass(frozen=True)
class Prediction:
    """A model, the images to ask it about, and the folder for its results.

    Attributes:
        inferencer: with its vocabulary set.
        write: writes (result, folder, name) and returns the class names found, for the terminal.
        paths: of the images.
        folder: for the results; made with the first.
    """

    inferencer: ImageInferencer[Any]
    write: Callable[..., str]
    paths: Sequence[Path]
    folder: Path

    def run(self) -> bool:
        """Write every image's results, and name on stderr those that cannot be read.

        Returns:
            Whether all images were done.
        """
        failed: list[tuple[str, Exception]] = []
        names = name_results(self.paths)
        bar = tqdm(self.paths, unit="image", disable=None)
        for path in bar:
            if path.is_dir():
                failed.append((str(path), ValueError(f"{path} is a folder, not an image")))
                continue
            for result in self.inferencer([path], on_error=lambda source, error: failed.append((source, error))):
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    found = self.write(result, self.folder, names[str(path)])
                except FullDiskError:
                    raise
                except (WriteError, OSError) as problem:
                    failed.append((str(path), ValueError(f"{path}: its result cannot be written: {problem}")))
                else:
                    bar.write(printable(f"{path}: {found}"))
        for _, error in failed:
            print(printable(f"error: {error}"), file=sys.stderr)
        print(f"{len(self.paths) - len(failed)} of {len(self.paths)} images done, results in {self.folder}")
        return not failed


def prepare_prediction(
    sources: Sequence[str | Path],
    vocabulary: str,
    *,
    config: str,
    checkpoint: str | None = None,
    settings: Mapping[str, Any] | None = None,
    templates: str | None = None,
    out_dir: str | Path = "predictions",
    panoptic: bool = False,
    stuff: str | None = None,
    min_score: float = 0.3,
    device: str = "auto",
    resize: str = "published",
) -> Prediction:
    """Build the model that a config describes and check all that it is asked.

    Args:
        sources: images and folders of images.
        vocabulary: class names with commas between, a file of them, or a benchmark's name.
        config: path of the model's config.
        checkpoint: its trained weights; None: the latest of the config's own runs, if any.
        settings: of the config to replace, such as ``{"model.backbone.adapter": None}``.
        templates: prompts; see `OpenVocabInferencer`.
        out_dir: folder for the results.
        panoptic: whether to write segments, with things one by one; mask classifiers only.
        stuff: the class names that are not counted one by one.
        min_score: of the boxes that are drawn, 0..1; detectors only.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.
        resize: 'published' or 'direct'; see `OpenVocabInferencer`. Only segmentors take 'direct'.

    Raises:
        FileNotFoundError, ValueError, KeyError: if anything of these is missing or wrong.
    """
    classes = read_vocabulary(vocabulary)
    paths = images.list_images(sources)
    launch.check_writable(out_dir, "--out-dir")
    if not 0 <= min_score <= 1:
        raise ValueError(f"--min-score must be from 0 to 1, not {min_score}")
    launch.choose_device(device)
    cfg = launch.read_config(config, ["model"])
    merge_settings(cfg, settings or {})
    if (panoptic or stuff) and not classifies_masks(cfg):
        raise ValueError(f"{config} gives no panoptic results: --panoptic takes a config that classifies masks")
    check_resize(resize, cfg)
    checkpoint = checkpoint or latest_checkpoint(config)
    if checkpoint is None and "decode_head" in cfg.model:
        print(f"no trained checkpoint of {config} found: using its CLIP as it is, without a trained head")
    for line in warnings_about(cfg, classes.titles, checkpoint):
        print(line)
    inferencer, write = open_inferencer(cfg, checkpoint, device, panoptic, min_score, resize)
    inferencer.set_vocabulary(classes, templates, stuff)
    return Prediction(inferencer, write, paths, Path(out_dir))


def warnings_about(cfg: Config, names: Sequence[str], checkpoint: str | None) -> list[str]:
    """What a person should know of the answers to come: a line each.

    Args:
        cfg: the model's config.
        names: the class names that are asked for.
        checkpoint: the model's trained weights, if any.
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
    if len(names) == 1 and cfg.model.type.rpartition(".")[2] == "OpenVocabSegmentor":
        weak = ", or leave out weak pixels by --cfg-options model.test_cfg.score_threshold=0.5" if checkpoint else ""
        if (cfg.model.get("test_cfg") or {}).get("score_threshold") is None:
            lines.append(f"'{names[0]}' alone takes every pixel: ask for what else there may be beside it{weak}")
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
    cfg: Config, checkpoint: str | None, device: str, panoptic: bool, min_score: float, resize: str = "published"
) -> tuple[ImageInferencer[Any], Callable[..., str]]:
    """The inferencer for a config's model, and what writes its results (see `Prediction.write`)."""
    if "roi_head" in cfg.model:  # a head for regions: a detector
        from hclip_mmseg.apis.detection_inferencer import DetectionInferencer

        return DetectionInferencer(cfg, checkpoint, device), partial(write_detections, min_score=min_score)
    if classifies_masks(cfg):
        from hclip_mmseg.apis.panoptic_inferencer import PanopticInferencer

        inferencer = PanopticInferencer(cfg, checkpoint, device, panoptic=panoptic)
        return inferencer, partial(write_panoptic, segments=panoptic)
    return OpenVocabInferencer(cfg, checkpoint, device, resize), write_segmentation


def write_segmentation(result: Segmentation, folder: Path, name: str) -> str:
    """Write overlay and label map; the class names found, for the terminal."""
    write_image(folder / f"{name}_overlay.png", result.overlay())
    write_label_map(folder / f"{name}_labels.png", result.labels, len(result.vocabulary))
    return ", ".join(f"{word} {share:.0%}" for word, share in list(result.shares().items())[:5])


def write_detections(result: Detections, folder: Path, name: str, min_score: float) -> str:
    """Write the image with its boxes and the list of all; the class names found, for the terminal."""
    from hclip_mmseg.detection.box_files import write_boxes

    write_image(folder / f"{name}_boxes.png", result.overlay(min_score))
    write_boxes(folder / f"{name}_boxes.json", result.instances, result.vocabulary)
    return ", ".join(f"{word} {score:.2f}" for word, score in list(result.best().items())[:5])


def write_panoptic(result: PanopticSegmentation, folder: Path, name: str, segments: bool) -> str:
    """Write a mask classifier's result, panoptic or semantic; the class names found, for the terminal."""
    if not segments:
        write_image(folder / f"{name}_overlay.png", result.semantic_overlay())
        write_label_map(folder / f"{name}_labels.png", result.labels, len(result.vocabulary))
        return ", ".join(f"{word} {share:.0%}" for word, share in list(result.shares().items())[:5])
    write_image(folder / f"{name}_panoptic.png", result.overlay())
    result.write(folder / f"{name}_ids.png", folder / f"{name}_ids.json")
    return ", ".join(f"{segment.title} {segment.share:.0%}" for segment in result.segments[:5]) or "nothing"
