"""tools/predict.py on good and bad pictures."""

import numpy as np
import pytest
from miniature import run_script
from PIL import Image


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    image.save(folder / "good.jpg")
    image.convert("L").save(folder / "grey.png")
    (folder / "broken.jpg").write_bytes((folder / "good.jpg").read_bytes()[:400])
    (folder / "empty.png").touch()
    return folder


def test_bad_pictures_are_reported_and_the_rest_is_done(tiny_config, repository, pictures, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat, house cat\ngrass\ntraffic light\n")
    ended = run_script(
        repository / "tools/predict.py", pictures, tmp_path / "absent.jpg", "--vocab", names,
        "--config", tiny_config, "--out-dir", "results", "--device", "cpu", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr[-3000:]
    written = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert written == ["good_labels.png", "good_overlay.png", "grey_labels.png", "grey_overlay.png"]
    labels = np.asarray(Image.open(tmp_path / "results/good_labels.png"))
    assert labels.shape == (60, 80) and labels.max() <= 2
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    for name in ("broken.jpg", "empty.png", "absent.jpg"):
        assert any(name in error for error in errors)
    assert "2 of 5 pictures done" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_bad_words_end_in_one_line(tiny_config, repository, pictures, tmp_path):
    ended = run_script(
        repository / "tools/predict.py", pictures, "--vocab", "cat, cat", "--config", tiny_config,
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].startswith("error: class name 'cat' is given 2 times")
    assert not (tmp_path / "predictions").exists()
