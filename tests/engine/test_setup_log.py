"""What stands in a run's log before the work begins."""

import logging

import pytest

from hclip_mmseg.engine.comparison_hook import method_of
from hclip_mmseg.engine.setup_log import SetupLog


@pytest.fixture
def log(tmp_path):
    return SetupLog(tmp_path / "setup.log")


def stays(log, text, level=logging.INFO):
    return log.filter(logging.LogRecord("run", level, "", 0, text, None, None))


def test_long_messages_go_into_the_file_until_the_work_begins(log):
    config = "Config:\n" + "a = 1\n" * 300
    assert not stays(log, config)
    assert log.path.read_text() == config + "\n"
    assert stays(log, "Evaluating frozen CLIP ...") and stays(log, "a\nb\nc")
    log.working = True
    assert stays(log, config)


def test_what_comes_in_hundreds_never_stands_in_the_log(log):
    noise = "backbone.image_tower.proj is skipped since its requires_grad=False"
    assert not stays(log, noise, logging.WARNING)
    log.working = True
    assert not stays(log, noise, logging.WARNING)
    assert log.path.read_text().count(noise) == 2


def test_errors_always_stand_in_the_log(log):
    assert stays(log, "failed\n" * 50, logging.ERROR)
    assert not log.path.exists()


@pytest.mark.parametrize(
    ("adapter", "name"),
    [
        (dict(type="POP", relation=dict(type="linear")), "H-CLIP"),
        (dict(type="POP", relation=None), "POP"),
        (dict(type="LoRA", rank=4), "LoRA"),
        (dict(type="TrainedProjections"), "CAT-Seg"),
        (None, "Freeze"),
    ],
)
def test_a_row_is_called_by_its_method(adapter, name):
    assert method_of(dict(backbone=dict(adapter=adapter))) == name
