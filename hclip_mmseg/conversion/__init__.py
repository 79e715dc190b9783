"""Checkpoints of others: recognised, converted, and converted back."""

from hclip_mmseg.conversion.published import recognise, to_ours, to_published

__all__ = ["recognise", "to_ours", "to_published"]
