"""Using a model from Python, and what the scripts in `tools/` share."""

from hclip_mmseg.apis.inferencer import OpenVocabInferencer, build_model
from hclip_mmseg.results import Result

__all__ = ["OpenVocabInferencer", "Result", "build_model"]
