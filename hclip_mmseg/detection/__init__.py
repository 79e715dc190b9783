"""Open-vocabulary detection on MMDetection's parts; importing registers them with MMDetection.

Backbone, adapters, vocabulary and hooks are those of segmentation. Needs MMDetection; the rest of the
project does not import this package.
"""

from hclip_mmseg.compat import ensure_mmcv_ops

ensure_mmcv_ops()
try:
    import mmdet.models  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "mmdet":
        raise
    raise ModuleNotFoundError(
        "detection needs MMDetection, which is not installed: pip install onedl-mmdetection", name="mmdet"
    ) from error

import hclip_mmseg.datasets.detection_images  # noqa: E402, F401
from hclip_mmseg.datasets.ov_coco import OVCocoDataset  # noqa: E402
from hclip_mmseg.datasets.scene_detection import BoxesFromLabels, SceneDetectionDataset  # noqa: E402
from hclip_mmseg.detection.ap50 import OpenVocabAP50  # noqa: E402
from hclip_mmseg.detection.bbox_head import OpenVocabBBoxHead  # noqa: E402
from hclip_mmseg.detection.box_files import BoxFileHook  # noqa: E402
from hclip_mmseg.detection.faster_rcnn import OpenVocabFasterRCNN  # noqa: E402
from hclip_mmseg.detection.patch_pyramid import PatchPyramid  # noqa: E402
from hclip_mmseg.detection.roi_head import OpenVocabRoIHead  # noqa: E402
from hclip_mmseg.detection.visualizer import OpenVocabDetVisualizer  # noqa: E402

__all__ = [
    "BoxFileHook",
    "BoxesFromLabels",
    "OVCocoDataset",
    "OpenVocabAP50",
    "OpenVocabBBoxHead",
    "OpenVocabDetVisualizer",
    "OpenVocabFasterRCNN",
    "OpenVocabRoIHead",
    "PatchPyramid",
    "SceneDetectionDataset",
]
