"""Models as files that run without this package's models: written with torch, run by onnxruntime and numpy."""

from hclip_mmseg.export.description import Description
from hclip_mmseg.export.onnx_model import OnnxModel

__all__ = ["Description", "OnnxModel"]
