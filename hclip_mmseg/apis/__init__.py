"""Using a model from Python, and what the scripts in `tools/` share."""

from hclip_mmseg.apis.inferencer import OpenVocabInferencer, build_model
from hclip_mmseg.apis.onnx_inferencer import OnnxInferencer
from hclip_mmseg.results import Result

__all__ = ["OnnxInferencer", "OpenVocabInferencer", "Result", "build_model"]
