"""What docs/keep_figure.py trains on, how, and what it makes of the results."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from miniature import REPOSITORY
from PIL import Image

from hclip_mmseg.demo_assets.scenes import SCENE_CLASSES, render_scene

SPEC = importlib.util.spec_from_file_location("keep_figure", REPOSITORY / "docs/keep_figure.py")
figure = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(figure)


def test_no_name_is_in_two_sets():
    sets = [set(figure.OWN), *map(set, figure.other_names().values())]
    assert [len(names) for names in sets] == [5, 12, 12] and len(set.union(*sets)) == 29
    assert set.union(*sets) <= set(SCENE_CLASSES) and figure.HELD_OUT in figure.OWN


def test_scenes_as_files(tmp_path):
    figure.write_scenes(tmp_path, figure.OWN, 7, {"train": 1, "val": 1}, haze=0.5)
    for index, part in enumerate(("train", "val")):
        scene = render_scene(7, index, figure.SIDE, names=figure.OWN, num_objects=(1, 2), radius=(16.0, 24.0))
        image = np.asarray(Image.open(tmp_path / f"images/{part}/{index:02d}.png"))
        np.testing.assert_allclose(image, scene.image / 2 + 110, atol=0.5)
        labels = np.asarray(Image.open(tmp_path / f"masks/{part}/{index:02d}.png"))
        assert np.array_equal(np.array(figure.OWN)[labels], np.array(SCENE_CLASSES)[scene.labels])


@pytest.mark.parametrize("remedy", figure.TRAINED)
def test_a_run_is_the_written_config_on_small_images(tmp_path, remedy):
    options = figure.parse_arguments(["--out", str(tmp_path), "--scenes", "4"])
    folders = figure.prepare(tmp_path, 0, 4)
    cfg = figure.run_config(folders, 0, "h-clip", remedy, options)
    data = cfg.train_dataloader.dataset
    datasets = data.datasets if remedy == "mix" else [data]
    assert len(datasets) == 1 + (remedy == "mix")
    for dataset in datasets:
        steps = {step.type: step for step in dataset.pipeline}
        assert steps["PublishedResize"].short_side == figure.SIDE
        assert tuple(steps["RandomCrop"].crop_size) == (figure.SIDE, figure.SIDE)
    (hook,) = cfg.custom_hooks
    assert hook.foreign.classes == figure.other_names()["foreign"] and hook.foreign.test_mode
    assert hook.strengths == ([0.5] if remedy == "none" else [])
    assert datasets[0].held_out == [figure.HELD_OUT]
    assert (cfg.model.get("train_cfg") or {}).get("hold") == (dict(weight=1.0) if remedy == "hold" else None)


def measured(value, name):
    return dict(name=name, step=0, **dict.fromkeys(figure.FIGURES, value))


def test_table_and_figure_are_of_the_finished_runs(tmp_path):
    for seed in range(3):
        for method in figure.METHODS:
            for remedy in figure.TRAINED:
                folder = tmp_path / f"seed_{seed}/{method}_{remedy}"
                (folder / "run").mkdir(parents=True)
                rows = [measured(10.0, "frozen"), measured(20.0 + seed, "step 60")]
                rows += [measured(15.0, "strength 0.5")] if remedy == "none" else []
                (folder / "run/keep.json").write_text(json.dumps(rows))
                if (seed, remedy) != (2, "mix"):
                    (folder / "done").touch()
    rows = figure.read_rows(tmp_path, 3)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{figure.START}outdated{figure.END}\nafter\n")
    figure.draw(rows, tmp_path / "keep.png", page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "outdated" not in text
    assert "| frozen CLIP |  | 3 | 10.0 ± 0.0 |" in text
    assert text.count("| 2 | 20.5 ± 0.7 | 20.5 ± 0.7 | 20.5 ± 0.7 | 20.500 ± 0.707 | 20.500 ± 0.707 |") == 3
    assert text.count("| 3 | 21.0 ± 1.0 | 21.0 ± 1.0 | 21.0 ± 1.0 | 21.000 ± 1.000 | 21.000 ± 1.000 |") == 6
    assert text.count("| strength 0.5 | 3 | 15.0 ± 0.0 |") == 3
    assert Image.open(tmp_path / "keep.png").size[0] > 800
