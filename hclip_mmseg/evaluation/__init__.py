"""Registered metrics."""

from hclip_mmseg.evaluation.open_vocab_iou import OpenVocabIoUMetric

__all__ = ["OpenVocabIoUMetric"]
