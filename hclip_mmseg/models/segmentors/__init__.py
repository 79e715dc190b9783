"""Registered segmentors."""

from hclip_mmseg.models.segmentors.open_vocab_segmentor import OpenVocabSegmentor

__all__ = ["OpenVocabSegmentor"]
