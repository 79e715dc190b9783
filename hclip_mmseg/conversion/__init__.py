"""Checkpoints of others: recognised, converted, and converted back; adapters folded for good."""

from hclip_mmseg.conversion.folding import clip_state_dict, folded_state_dict
from hclip_mmseg.conversion.published import recognise, to_ours, to_published

__all__ = ["clip_state_dict", "folded_state_dict", "recognise", "to_ours", "to_published"]
