"""MMDetection's own init_detector, inference_detector and DetInferencer on configs of ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from miniature_coco import write_coco
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import init_model
from tiny_detectors import detector_config

from hclip_mmseg.detection import OpenVocabFasterRCNN

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 120, 3), dtype=np.uint8)


def scenes(name):
    def make(repository, folder):
        return repository / f"configs/{name}_tiny_scenes.py"

    return make


def ov_coco(repository, folder):
    """The OV-COCO config on a tiny CLIP, whose annotation files are not prepared: only an image is looked at."""
    cfg = Config.fromfile(repository / "configs/detection/hclip_vitb16_ov-coco.py")
    tiny = detector_config()
    cfg.model = dict(tiny, roi_head=dict(tiny["roi_head"], base_names=cfg.model.roi_head.base_names))
    cfg.test_dataloader.dataset.data_root = str(folder)
    cfg.dump(folder / "ov-coco.py")
    return folder / "ov-coco.py"


CONFIGS = {"scenes": scenes("detection/hclip"), "proposals": scenes("fisa/proposals"), "ov-coco": ov_coco}


@pytest.fixture(params=CONFIGS)
def trained(request, repository, tmp_path):
    """Paths of a config and of a checkpoint as its training writes it, and the data set's metainfo."""
    path = CONFIGS[request.param](repository, tmp_path)
    cfg = Config.fromfile(path)
    init_default_scope("mmdet")
    meta = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True)).metainfo
    torch.manual_seed(0)
    state = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=meta)), tmp_path / "trained.pth")
    return str(path), str(tmp_path / "trained.pth"), meta


def test_a_detector_asks_for_the_names_of_the_checkpoints_data_set(trained):
    config, checkpoint, meta = trained
    model = init_detector(config, checkpoint, device="cpu")
    found = inference_detector(model, IMAGE)
    if not isinstance(model, OpenVocabFasterRCNN):  # MMDetection's Mask2Former, which knows no names
        assert found.pred_panoptic_seg.sem_seg.shape == (1, 96, 120)
        return
    assert model.vocabulary == tuple(meta.get("vocabulary", meta["classes"])) == found.metainfo["vocabulary"]
    assert found.pred_instances.bboxes.shape[1] == 4
    model.set_vocabulary(["cat", "dog"])
    model.dataset_meta = meta
    assert model.vocabulary == ("cat", "dog"), "names that were chosen are kept"
    assert init_model(config, checkpoint, device="cpu").vocabulary == found.metainfo["vocabulary"]


def test_the_inferencer_finds_and_draws(trained, tmp_path):
    config, checkpoint, _ = trained
    inferencer = DetInferencer(config, checkpoint, device="cpu", show_progress=False)
    found = inferencer(IMAGE, return_vis=True, no_save_vis=True, no_save_pred=True)
    assert found["visualization"][0].shape == IMAGE.shape
    assert {"bboxes", "labels", "scores"} <= set(found["predictions"][0]) or "panoptic_seg" in found["predictions"][0]
    path = next((write_coco(tmp_path / "coco") / "val2017").iterdir())
    assert len(inferencer([str(path)], no_save_vis=True, no_save_pred=True)["predictions"]) == 1
