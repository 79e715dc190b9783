"""Files appear whole or not at all; a full disk and a closed place are said in one line."""

import gc
import re

import numpy as np
import pytest
import torch
from full_disk import at_most
from matplotlib.figure import Figure
from PIL import Image

from hclip_mmseg.files.errors import FullDiskError, WriteError, lack_of_space
from hclip_mmseg.files.writing import whole, write_figure, write_image, write_tensors, write_whole

NOISE = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)


def noisy_figure():
    figure = Figure()
    figure.subplots().imshow(NOISE)
    return figure


WRITERS = {
    "a.json": lambda path: write_whole(path, "x" * 30_000),
    "a.pth": lambda path: write_tensors(path, {"weight": torch.ones(9_000)}),
    "a.png": lambda path: write_image(path, NOISE),
    "a.jpg": lambda path: write_image(path, NOISE),
    "plot.png": lambda path: write_figure(path, noisy_figure(), 110),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path, name):
    path = tmp_path / name
    path.write_text("the old file")
    with at_most(8_000), pytest.raises(FullDiskError, match=re.escape(str(path))) as caught:
        WRITERS[name](path)
    assert path.read_text() == "the old file"
    assert list(tmp_path.iterdir()) == [path]
    assert lack_of_space(caught.value) is not None
    assert "\n" not in str(caught.value) and "again" in str(caught.value)
    del caught
    gc.collect()  # where Python 3.12.1 crashed, as the error held a view of a BytesIO
    WRITERS[name](path)
    assert path.stat().st_size > 8_000 and list(tmp_path.iterdir()) == [path]


def test_what_is_written_is_read_again(tmp_path):
    write_image(tmp_path / "deep/er/a.png", NOISE)
    assert (np.asarray(Image.open(tmp_path / "deep/er/a.png")) == NOISE).all()
    labels = np.array([[0, 300]], np.uint16)
    write_image(tmp_path / "labels.png", labels)
    assert (np.asarray(Image.open(tmp_path / "labels.png")) == labels).all()
    write_tensors(tmp_path / "a.pth", {"weight": torch.arange(3)})
    assert torch.load(tmp_path / "a.pth", weights_only=True)["weight"].tolist() == [0, 1, 2]


def test_a_place_that_takes_no_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.txt").mkdir()
    for path in (tmp_path / "file/a.txt", tmp_path / "folder.txt", tmp_path / ("x" * 300)):
        with pytest.raises(WriteError, match="cannot be written: ") as caught:
            write_whole(path, "text")
        assert str(path) in str(caught.value) and not isinstance(caught.value, FullDiskError)
    with pytest.raises(WriteError, match=r"no format of images is called \.xyz"):
        write_image(tmp_path / "a.xyz", NOISE)


def test_an_error_about_another_file_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"), whole(tmp_path / "a.txt") as part:
        part.write_text((tmp_path / "absent").read_text())
    assert list(tmp_path.iterdir()) == []
