"""Images and label maps that are not there, before a run."""

import pytest
from PIL import Image

from hclip_mmseg.apis.data_files import missing_files


@pytest.fixture
def dataset(tmp_path):
    for folder, suffix in (("img/a", ".jpg"), ("ann/a", ".png")):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(3):
            Image.new("L", (8, 6)).save(tmp_path / folder / f"{number}{suffix}")
    return dict(
        type="BaseSegDataset",
        data_root=str(tmp_path),
        metainfo=dict(classes=("sand", "grass")),
        data_prefix=dict(img_path="img", seg_map_path="ann"),
        img_suffix=".jpg",
        seg_map_suffix=".png",
    )


def test_nothing_is_said_where_all_is_there(dataset):
    assert list(missing_files(dataset, trains=True)) == []


def test_another_suffix_is_named_with_the_setting(dataset, tmp_path):
    for path in (tmp_path / "img/a").iterdir():
        path.rename(path.with_suffix(".jpeg"))
    (said,) = missing_files(dataset, trains=True)
    assert f"no file in {tmp_path / 'img'} ends in '.jpg'; there are 3 in '.jpeg'" in said
    assert "set img_suffix='.jpeg'" in said
    assert list(missing_files({**dataset, "img_suffix": ".jpeg"}, trains=True)) == []
    (said,) = missing_files({**dataset, "img_suffix": ".jpeg", "seg_map_suffix": ".tif"}, trains=True)
    assert "ends in '.tif'" in said and "set seg_map_suffix='.png'" in said


def test_one_missing_label_map_is_named_with_its_image(dataset, tmp_path):
    (tmp_path / "ann/a/1.png").unlink()
    (said,) = missing_files(dataset, trains=False)
    assert "1 of 3 are missing" in said
    assert str(tmp_path / "ann/a/1.png") in said and str(tmp_path / "img/a/1.jpg") in said


def test_a_test_set_needs_no_label_maps_and_training_does(dataset):
    dataset["data_prefix"] = dict(img_path="img")
    assert list(missing_files(dataset, trains=False)) == []
    (said,) = missing_files(dataset, trains=True)
    assert "trained on" in said and "seg_map_path" in said
    (said,) = missing_files({**dataset, "pipeline": [dict(type="LoadAnnotations")]}, trains=False)
    assert "put LoadLabelMap in the place of LoadAnnotations" in said
    assert list(missing_files({**dataset, "pipeline": [dict(type="LoadLabelMap")]}, trains=False)) == []
