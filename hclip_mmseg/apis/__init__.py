"""Using a model from Python, and what the scripts in `tools/` share."""

from hclip_mmseg.apis.inferencer import OpenVocabInferencer, Segmentation, build_model

__all__ = ["OpenVocabInferencer", "Segmentation", "build_model"]
