"""The former place of `hclip_mmseg.datasets.panoptic`, for imports of earlier releases."""

from hclip_mmseg.datasets.panoptic import OpenVocabPanopticDataset

__all__ = ["OpenVocabPanopticDataset"]
