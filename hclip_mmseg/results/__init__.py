"""What models find in images, as one class, and its forms as files."""

from hclip_mmseg.results.parts import merge_parts, part_suffix
from hclip_mmseg.results.result import Boxes, Result, Segment
from hclip_mmseg.results.writer import FORMATS, ResultWriter, check_box_formats, check_formats, usual_formats

__all__ = [
    "FORMATS",
    "Boxes",
    "Result",
    "ResultWriter",
    "Segment",
    "check_box_formats",
    "check_formats",
    "merge_parts",
    "part_suffix",
    "usual_formats",
]
