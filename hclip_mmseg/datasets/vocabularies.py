"""The former place of `hclip_mmseg.vocabularies`, for imports of earlier releases."""

from hclip_mmseg.vocabularies import available_vocabularies, check_names, load_vocabulary, read_names

__all__ = ["available_vocabularies", "check_names", "load_vocabulary", "read_names"]
