"""Class names that a config gives a data set as a file."""

import pytest
from mmengine.config import Config

import hclip_mmseg  # noqa: F401
from hclip_mmseg.apis.checks import check_run
from hclip_mmseg.datasets.coco_stuff import COCOStuff171Dataset


@pytest.mark.parametrize(("name", "text"), [("own.json", '["sand", "grass"]'), ("own.txt", "0: sand\n1: grass\n")])
def test_a_data_sets_classes_may_be_any_file_of_names(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    own = dict(type="BaseSegDataset", metainfo=dict(classes=str(path)), ann_file="x.txt")
    cfg = Config(dict(model={}, test_dataloader=dict(dataset=dict(type="ConcatDataset", datasets=[own]))))
    check_run(cfg, ["test"])
    assert tuple(cfg.test_dataloader.dataset.datasets[0].metainfo.classes) == ("sand", "grass")
    chosen = COCOStuff171Dataset(metainfo=dict(classes=str(path)), lazy_init=True)
    assert tuple(chosen.metainfo["classes"]) == ("sand", "grass")
    path.write_text("[\n'sand'")
    with pytest.raises(ValueError, match="is no list of class names"):
        check_run(Config(dict(model={}, test_dataloader=dict(dataset=own))), ["test"])
