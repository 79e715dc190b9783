"""Classifying mask proposals by words: what FISA and MAFT+ share.

Proposals are MMDetection's Mask2Former. ``classification`` turns mask embeddings into scores of names,
``inference`` turns scored masks into semantic, panoptic and instance results, ``mask_classifier`` is the segmentor that
both methods extend.
"""

import hclip_mmseg.datasets.detection_images  # noqa: F401
from hclip_mmseg.datasets.panoptic import (
    LoadPanopticSegments,
    OpenVocabPanopticDataset,
    check_segments,
)
from hclip_mmseg.datasets.scene_masks import MasksFromLabels, ScenePanopticDataset
from hclip_mmseg.engine.iteration_seed_hook import IterationSeedHook
from hclip_mmseg.evaluation.panoptic_metric import OpenVocabPanopticMetric, ScenePanopticMetric
from hclip_mmseg.mask_classification.classification import MaskClasses, SynonymTable, class_logits, class_scores
from hclip_mmseg.mask_classification.inference import instances, panoptic_ids, semantic_labels, semantic_scores
from hclip_mmseg.mask_classification.mask_classifier import MaskClassifier
from hclip_mmseg.mask_classification.mask_loss import MaskClassificationLoss
from hclip_mmseg.mask_classification.visualizer import OpenVocabPanopticVisualizer

__all__ = [
    "IterationSeedHook",
    "LoadPanopticSegments",
    "MaskClassificationLoss",
    "MaskClasses",
    "MaskClassifier",
    "MasksFromLabels",
    "ScenePanopticDataset",
    "ScenePanopticMetric",
    "OpenVocabPanopticDataset",
    "OpenVocabPanopticMetric",
    "OpenVocabPanopticVisualizer",
    "SynonymTable",
    "check_segments",
    "class_logits",
    "class_scores",
    "instances",
    "panoptic_ids",
    "semantic_labels",
    "semantic_scores",
]
