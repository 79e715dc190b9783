"""Videos in, a video of overlays and files of frames out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hclip_mmseg.apis import OpenVocabInferencer
from hclip_mmseg.apis.video import SmoothedScores, VideoPrediction, check_video, opened, read_frames
from hclip_mmseg.results import ResultWriter


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Seven frames, each brighter than the one before it."""
    path = tmp_path_factory.mktemp("film") / "street.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(7):
        writer.write(np.full((48, 64, 3), 30 * number, np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def inferencer(repository):
    found = OpenVocabInferencer(repository / "configs/cliptrase/sclip_tiny_scenes.py", device="cpu")
    found.set_vocabulary("circle, grass, sky")
    return found


def brightness(path, every: int = 1) -> list[tuple[int, float]]:
    with opened(str(path)) as capture:
        return [(number, round(float(frame.mean()))) for number, frame in read_frames(capture, every)]


def test_every_nth_frame_is_read(film):
    assert [number for number, _ in brightness(film)] == list(range(7))
    assert [number for number, _ in brightness(film, 3)] == [0, 3, 6]
    assert all(abs(value - 30 * number) <= 3 for number, value in brightness(film, 3))


def test_overlays_become_a_video_and_frames_files(film, inferencer, tmp_path, capsys):
    writer = ResultWriter(tmp_path, ["overlay", "labels", "coco"], side_by_side=True)
    assert VideoPrediction(inferencer, writer, str(film), every=3).run() == 3
    assert "3 frames done" in capsys.readouterr().out
    assert len(brightness(tmp_path / "street_overlay.mp4")) == 3
    with opened(str(tmp_path / "street_overlay.mp4")) as capture:
        size = [capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        assert size == [128, 48] and capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10 / 3, abs=0.1)
    labels = sorted(path.name for path in tmp_path.glob("*_labels.png"))
    assert labels == [f"street_{number:06d}_labels.png" for number in (0, 3, 6)]
    assert (tmp_path / "predictions.json").is_file() and not list(tmp_path.glob("*_overlay.png"))


def test_smoothed_scores_are_the_running_mean(film, inferencer):
    first, second = np.zeros((2, 3, 3), np.float32), np.ones((2, 3, 3), np.float32)
    smoothed = SmoothedScores(0.75)
    assert np.array_equal(smoothed(first), first)
    assert np.allclose(smoothed(second), 0.25) and np.allclose(smoothed(second), 0.4375)
    with opened(str(film)) as capture:
        results = [result for _, result in VideoPrediction(inferencer, None, str(film), 3, 0.5).results(capture)]
    with opened(str(film)) as capture:
        alone = [next(inferencer(frame, scores=True)).scores for _, frame in read_frames(capture, 3)]
    expected = 0.5 * (0.5 * alone[0] + 0.5 * alone[1]) + 0.5 * alone[2]
    assert np.allclose(results[2].scores, expected, atol=1e-6)
    assert np.array_equal(results[2].labels, expected.argmax(axis=0))
    assert np.allclose(results[2].certainty, expected.max(axis=0))


def test_a_camera_that_is_not_there_is_said():
    with pytest.raises(ValueError, match="^there is no camera 99$"):
        check_video("99", 1, 0.0)


def test_what_a_video_cannot_be_asked(film, inferencer, tmp_path):
    (tmp_path / "text.mp4").write_text("this is no video")
    for arguments, said in (
        ((str(tmp_path / "text.mp4"), 1, 0.0), "is no video"),
        ((str(film), 0, 0.0), "at least 1, not 0"),
        ((str(film), 1, 1.0), "a weight below 1"),
    ):
        with pytest.raises(ValueError, match=said):
            check_video(*arguments)
    with pytest.raises(FileNotFoundError, match="no video at"):
        check_video(str(tmp_path / "absent.mp4"), 1, 0.0)
    inferencer.set_vocabulary("circle, grass", negatives="sky")
    with pytest.raises(ValueError, match="without --negatives"):
        VideoPrediction(inferencer, ResultWriter(tmp_path, ["overlay"]), str(film), 1, 0.5)
