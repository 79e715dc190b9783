"""Images of label maps with the words they were asked for."""

from hclip_mmseg.visualization.boxes import draw_boxes
from hclip_mmseg.visualization.colours import name_colours
from hclip_mmseg.visualization.heat_map import draw_heat_map
from hclip_mmseg.visualization.label_maps import LabelMapHook, label_image, write_label_map
from hclip_mmseg.visualization.overlay import beside, class_shares, draw_overlay
from hclip_mmseg.visualization.visualization_hook import OpenVocabVisualizationHook
from hclip_mmseg.visualization.visualizer import OpenVocabVisualizer

__all__ = [
    "LabelMapHook",
    "OpenVocabVisualizationHook",
    "OpenVocabVisualizer",
    "beside",
    "class_shares",
    "draw_boxes",
    "draw_heat_map",
    "draw_overlay",
    "label_image",
    "name_colours",
    "write_label_map",
]
