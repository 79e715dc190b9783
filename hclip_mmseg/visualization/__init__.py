"""Pictures of label maps with the words they were asked for."""

from .colours import name_colours
from .label_maps import LabelMapHook, write_label_map
from .overlay import class_shares, draw_overlay
from .visualization_hook import OpenVocabVisualizationHook
from .visualizer import OpenVocabVisualizer

__all__ = [
    "LabelMapHook",
    "OpenVocabVisualizationHook",
    "OpenVocabVisualizer",
    "class_shares",
    "draw_overlay",
    "name_colours",
    "write_label_map",
]
