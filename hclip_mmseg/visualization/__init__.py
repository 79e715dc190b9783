"""Pictures of label maps with the words they were asked for."""

from .colours import name_colours
from .overlay import class_shares, draw_overlay
from .visualizer import OpenVocabVisualizer

__all__ = ["OpenVocabVisualizer", "class_shares", "draw_overlay", "name_colours"]
