"""Figures of how CLIP segments without training, and of how class names and images lie to each other."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from hclip_mmseg.apis import checks, images, launch
from hclip_mmseg.apis.inferencer import OpenVocabInferencer, build_model
from hclip_mmseg.apis.opening import open_model
from hclip_mmseg.files.errors import FullDiskError
from hclip_mmseg.files.result_names import plain_name
from hclip_mmseg.files.showing import printable
from hclip_mmseg.files.writing import write_figure, write_image
from hclip_mmseg.training_free.class_similarity import class_embeddings
from hclip_mmseg.training_free.depth import GLOBAL
from hclip_mmseg.training_free.explanation import Explanation, Point, explain
from hclip_mmseg.training_free.method_explanation import MethodExplanation, explain_method
from hclip_mmseg.visualization import draw_overlay
from hclip_mmseg.visualization.correlation_figures import depth_figure, matrix_figure, name_figure, point_figure
from hclip_mmseg.visualization.gallery import Section, write_gallery
from hclip_mmseg.visualization.overlay import beside


@dataclass(frozen=True)
class Similarity:
    """Models whose class embeddings are compared, and the dataset that has the classes.

    Attributes:
        models: by what they are called, such as 'frozen'.
        dataset: whose images are looked at.
        samples: how many of them.
    """

    models: Mapping[str, nn.Module]
    dataset: BaseDataset
    samples: int

    def draw(self, folder: Path) -> Section:
        """Write the figure of the classes' cosines into a folder."""
        found = {name: class_embeddings(model, self.dataset, self.samples) for name, model in self.models.items()}
        names = next(iter(found.values())).names
        matrices = {
            model: {title: matrix.numpy() for title, matrix in embeddings.matrices().items()}
            for model, embeddings in found.items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_figure(folder / "similarity.png", matrix_figure(names, matrices), 110)
        return Section("Similarity of classes", [(f"Cosines between {len(names)} classes.", "similarity.png")])


@dataclass(frozen=True)
class Figures:
    """What is to be drawn, and the folder for it.

    Attributes:
        inferencer: of a model that finds regions or has a protocol of the field, with its vocabulary set; None: no
            images are explained.
        paths: of the images.
        points: (x, y) in pixels to explain; None: the middles of the largest regions.
        similarity: the classes to compare, or None.
        folder: for the figures and their page; made with the first.
    """

    inferencer: OpenVocabInferencer | None
    paths: Sequence[str | Path]
    points: Sequence[Point] | None
    similarity: Similarity | None
    folder: Path

    def draw(self) -> bool:
        """Write all figures and the page that gathers them, and name on stderr the images that cannot be read.

        Returns:
            Whether all images were done.
        """
        sections: list[Section] = []
        failed: list[Exception] = []
        for number, path in enumerate(tqdm(self.paths, unit="image", disable=None)):
            try:
                figures = self._explain(path, f"{number:03d}_{plain_name(Path(path).stem)}")
            except FullDiskError:
                raise
            except (ValueError, OSError, MemoryError) as error:
                failed.append(error)
                continue
            self._add(sections, Section(plain_name(Path(path).name), figures))
        if self.similarity is not None:
            self._add(sections, self.similarity.draw(self.folder))
        for problem in failed:
            print(printable(f"error: {problem}"), file=sys.stderr)
        if sections:
            print(f"{len(sections)} sections in {self.folder / 'index.html'}")
        return not failed

    def _explain(self, path: str | Path, name: str) -> list[tuple[str, str]]:
        """Write the figures of an image; (caption, file) of each."""
        assert self.inferencer is not None
        model, image = self.inferencer.model, images.read_image(path)
        if model.windowed is None:
            shown = explain(model, image, self.points)
            self.folder.mkdir(parents=True, exist_ok=True)
            return draw_explanation(shown, self.folder, name)
        of_method = explain_method(model, image, self.points, path=path)
        self.folder.mkdir(parents=True, exist_ok=True)
        return draw_method(of_method, self.folder, name)

    def _add(self, sections: list[Section], section: Section) -> None:
        """Write the page anew with one section more, so that it shows all that is done whenever the work ends."""
        sections.append(section)
        write_gallery(self.folder / "index.html", "Segmentation without training", sections)


def prepare_figures(
    sources: Sequence[str | Path],
    vocabulary: str | None,
    *,
    config: str,
    points: Sequence[Point] | None = None,
    similarity: str | None = None,
    checkpoint: str | None = None,
    samples: int = 50,
    out_dir: str | Path = "visualizations",
    device: str = "auto",
    offline: bool = False,
) -> Figures:
    """Build the models that figures are drawn of, and check all that they are asked.

    Args:
        sources: images and folders of images to explain.
        vocabulary: class names with commas between, a file of them, or a benchmark's name.
        config: path of a config without training, or its name as ``hclip-models`` lists it, for the images.
        points: (x, y) in pixels to explain; None: the middles of the largest regions.
        similarity: path or name of the config whose test data's classes are compared, or None.
        checkpoint: its fine-tuned weights, to be compared with the frozen CLIP; None: of a name, what is published.
        samples: images that the comparison looks at.
        out_dir: folder for the figures.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.
        offline: whether the network must not be used for a name's weights.

    Raises:
        FileNotFoundError, ValueError, KeyError: if anything of these is missing or wrong.
    """
    launch.check_writable(out_dir, "--out-dir")
    launch.choose_device(device)
    inferencer: OpenVocabInferencer | None = None
    paths: list[str | Path] = []
    if sources:
        paths = images.list_images(sources)
        inferencer = OpenVocabInferencer(open_model(config, offline=offline).config, device=device)
        model = inferencer.model
        if getattr(model, "windowed", None) is None and getattr(model, "region_finder", None) is None:
            raise ValueError(
                f"{config} finds no regions and has no protocol: choose one of configs/cliptrase or training_free"
            )
        inferencer.set_vocabulary(vocabulary or "")
    compared = prepare_similarity(similarity, checkpoint, samples, device, offline) if similarity else None
    return Figures(inferencer, paths, points, compared, Path(out_dir))


def prepare_similarity(
    path: str, checkpoint: str | None, samples: int, device: str, offline: bool = False
) -> Similarity:
    """Build a config's model, frozen and, where there is a checkpoint, fine-tuned, and its test data.

    Raises:
        FileNotFoundError, ValueError: if the config is none of a segmentor with a head, or what it needs is missing.
    """
    config, trained, _ = open_model(path, checkpoint, offline=offline)
    if "decode_head" not in config.model:
        raise ValueError(f"{path} trains nothing to be compared: give a config of a segmentor with a head")
    checks.check_run(config, ["test"])
    chosen = launch.choose_device(device)
    models = {"frozen": build_model(config).to(chosen)}
    if trained:
        models["fine-tuned"] = build_model(config, trained).to(chosen)
    return Similarity(models, DATASETS.build(config.test_dataloader.dataset), samples)


def draw_explanation(shown: Explanation, folder: Path, name: str) -> list[tuple[str, str]]:
    """Write the figures of one image; (caption, file) of each."""
    maps = {
        "before: CLIP's attention": shown.attention,
        "recovered: self-correlation": shown.correlation,
        "denoised": shown.denoised,
    }
    files = {part: f"{name}_{part}.png" for part in ("masks", "points", "depth", "regions")}
    write_image(folder / files["masks"], draw_overlay(shown.image, shown.labels, shown.vocabulary))
    write_image(folder / files["regions"], draw_regions(shown))
    write_figure(folder / files["points"], point_figure(shown.image, shown.points, maps), 110)
    write_figure(folder / files["depth"], depth_figure(shown.image, shown.received, GLOBAL), 110)
    captions = {
        "masks": "Final masks.",
        "regions": "Regions before and after denoising.",
        "points": "What the patch at a point goes with, in the last block but one, before and after recovery.",
        "depth": "What every patch gets of the others' attention, block by block; 1 is an even share.",
    }
    return [(caption, files[part]) for part, caption in captions.items()]


def draw_method(shown: MethodExplanation, folder: Path, name: str) -> list[tuple[str, str]]:
    """Write the figures of one image by a method of the field; (caption, file) of each."""
    drawn = [("masks", "Final masks.")]
    write_image(folder / f"{name}_masks.png", draw_overlay(shown.image, shown.labels, shown.vocabulary))
    write_figure(folder / f"{name}_names.png", name_figure(shown.image, shown.names), 110)
    drawn.append(("names", "Probability of the names that are most probable somewhere."))
    if shown.taken:
        write_figure(folder / f"{name}_points.png", point_figure(shown.image, shown.points, shown.taken), 110)
        caption = "What the patch at a point takes of the others, the whole image in one window: "
        drawn.append(("points", f"{caption}{', '.join(shown.taken)}."))
    if shown.regions:
        parts = []
        for title, numbers in shown.regions.items():
            names = [f"region {index + 1}" for index in range(int(np.max(numbers)) + 1)]
            parts.append(draw_overlay(shown.image, numbers, names, title=title))
        write_image(folder / f"{name}_regions.png", beside(*parts))
        drawn.append(("regions", "Regions read from a folder."))
    return [(caption, f"{name}_{part}.png") for part, caption in drawn]


def draw_regions(shown: Explanation) -> NDArray[np.uint8]:
    """The region maps before and after denoising beside each other, RGB uint8."""
    drawn = []
    for title, regions in (("before denoising", shown.raw_regions), ("after denoising", shown.regions)):
        labels = np.full(shown.labels.shape, 255) if regions is None else regions
        names = [f"region {index + 1}" for index in range(0 if regions is None else int(np.max(regions)) + 1)]
        drawn.append(draw_overlay(shown.image, labels, names, title=title))
    return beside(*drawn)
