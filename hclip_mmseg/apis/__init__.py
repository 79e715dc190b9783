"""Using a model from Python, and what the scripts in `tools/` share."""

from .inferencer import OpenVocabInferencer, Segmentation, build_model

__all__ = ["OpenVocabInferencer", "Segmentation", "build_model"]
