"""Asking a model about the frames of a video, or of a camera."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hclip_mmseg.apis.image_inferencer import ImageInferencer
from hclip_mmseg.apis.inferencer import OpenVocabInferencer
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.result_names import plain_name
from hclip_mmseg.files.scores import check_score
from hclip_mmseg.files.showing import counted
from hclip_mmseg.results import Result, ResultWriter

CODEC = "mp4v"
USUAL_RATE = 25.0
"""Frames a second where a video does not say."""


@contextmanager
def opened(source: str) -> Iterator[cv2.VideoCapture]:
    """A video file, or a camera by its number, open for reading.

    Raises:
        FileNotFoundError, ValueError: if there is no such file or camera, or it is no video.
    """
    camera = source.isdecimal()
    if not camera and not Path(source).is_file():
        raise FileNotFoundError(f"no video at {Path(source).absolute()}")
    capture = cv2.VideoCapture(int(source)) if camera else cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            broken = f"{source} is no video, or of a format that OpenCV lacks"
            raise InputError(f"there is no camera {source}" if camera else broken)
        yield capture
    finally:
        capture.release()


def read_frames(capture: cv2.VideoCapture, every: int = 1) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(number from 0, BGR uint8 [H, W, 3]) of every n-th frame; the others are not decoded."""
    number = 0
    while capture.grab():
        if number % every == 0:
            there, frame = capture.retrieve()
            if not there:
                return
            yield number, np.asarray(frame, np.uint8)
        number += 1


class SmoothedScores:
    """The running mean of score maps over the frames of a video: weight x mean + (1 - weight) x scores.

    Args:
        weight: of what was seen before, from 0 to below 1.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._mean: NDArray[np.float32] | None = None

    def __call__(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean with one frame's scores [T, H, W] more."""
        if self._mean is None:
            self._mean = scores
        else:
            self._mean = self.weight * self._mean + (1 - self.weight) * scores
        return self._mean


@dataclass(frozen=True)
class VideoPrediction:
    """A model, the video to ask it about, and what is written of it.

    Attributes:
        inferencer: with its vocabulary set.
        writer: of the results; its "overlay" becomes a video, its other formats are files of each frame and of the run.
        source: the video file, or the number of a camera.
        every: which frames: each n-th.
        smoothing: weight of earlier frames' scores, from 0 to below 1; 0: every frame by itself.

    Raises:
        ValueError: if scores are to be smoothed and the model gives none, or leaves some out.
    """

    inferencer: ImageInferencer
    writer: ResultWriter
    source: str
    every: int = 1
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not self.smoothing:
            return
        groups = self.inferencer.question.groups
        whole = self.inferencer.question.reported == len(groups.names) and groups.least_presence is None
        if not isinstance(self.inferencer, OpenVocabInferencer) or not whole:
            raise InputError("--smooth averages score maps: for segmentors, without --negatives and --drop-absent")

    def run(self) -> int:
        """Write the results of all frames, and how many there were in a second; Ctrl-C ends a camera's.

        Returns:
            The number of frames done.

        Raises:
            FileNotFoundError, ValueError: if the video cannot be read or written.
        """
        name = plain_name(f"camera_{self.source}" if self.source.isdecimal() else Path(self.source).stem)
        formats, folder = self.writer.formats, self.writer.folder
        of_frames = [each for each in formats if each != "overlay"]
        done, begun, film = 0, time.perf_counter(), None
        try:
            with opened(self.source) as capture, ResultWriter(folder, of_frames) as writer:
                rate = (capture.get(cv2.CAP_PROP_FPS) or USUAL_RATE) / self.every
                for number, result in tqdm(self.results(capture), unit="frame", disable=None):
                    if of_frames:
                        writer.add(result, f"{name}_{number:06d}", number + 1)
                    if "overlay" in formats:
                        drawn = self.draw(result)
                        film = film or open_film(folder / f"{name}_overlay.mp4", rate, drawn)
                        film.write(np.ascontiguousarray(drawn[..., ::-1]))
                    done += 1
        except KeyboardInterrupt:
            print("stopped")
        finally:
            if film is not None:
                film.release()
        if not done:
            raise InputError(f"{self.source} holds no frame that can be read")
        seconds = time.perf_counter() - begun
        print(f"{counted(done, 'frame')} done, {done / seconds:.2f} a second, results in {folder}")
        return done

    def results(self, capture: cv2.VideoCapture) -> Iterator[tuple[int, Result]]:
        """(number, result) of every frame that is looked at."""
        smoothed = SmoothedScores(self.smoothing)
        options: dict[str, Any] = dict(scores=True) if self.smoothing else {}
        for number, frame in read_frames(capture, self.every):
            (result,) = self.inferencer(frame, **options)
            if self.smoothing:
                assert result.scores is not None
                result = self.inferencer.question.relabelled(result, smoothed(result.scores))
            yield number, result

    def draw(self, result: Result) -> NDArray[np.uint8]:
        """A frame's overlay, of one size for all: names stand on their regions instead of a legend."""
        return result.overlay(**{**self.writer.drawing, "legend": False, "names_on_regions": True})


def check_video(source: str, every: int, smoothing: float) -> None:
    """Check what a video is asked, before a model is built.

    Args:
        source: the video file, or the number of a camera.
        every: which frames.
        smoothing: weight of earlier frames.

    Raises:
        FileNotFoundError, ValueError: what is wrong.
    """
    with opened(source):
        pass
    if every < 1:
        raise InputError(f"--every is a number of frames, at least 1, not {every}")
    if check_score(smoothing, "--smooth") == 1:
        raise InputError("--smooth is a weight below 1: with 1 all frames would be as the first")


def open_film(path: Path, rate: float, first: NDArray[np.uint8]) -> cv2.VideoWriter:
    """A video file to be written, for frames of the first one's size.

    Raises:
        ValueError: if OpenCV cannot write it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = first.shape[:2]
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODEC), rate, (width, height))
    if not film.isOpened():
        raise InputError(f"OpenCV cannot write {path}: choose other formats than overlay")
    return film
