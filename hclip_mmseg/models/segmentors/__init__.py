"""Registered segmentors."""

from hclip_mmseg.models.segmentors.open_vocab_san import OpenVocabCLIPTextEncoder, OpenVocabSAN
from hclip_mmseg.models.segmentors.open_vocab_segmentor import OpenVocabSegmentor
from hclip_mmseg.models.segmentors.open_vocab_tta import OpenVocabTTAModel

__all__ = ["OpenVocabCLIPTextEncoder", "OpenVocabSAN", "OpenVocabSegmentor", "OpenVocabTTAModel"]
