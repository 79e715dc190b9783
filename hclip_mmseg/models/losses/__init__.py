"""Registered losses."""

from hclip_mmseg.models.losses.all_classes_bce import AllClassesBCELoss

__all__ = ["AllClassesBCELoss"]
