"""Lists of class names: the benchmarks' own, and those that people write."""

from hclip_mmseg.vocabularies.benchmarks import Vocabulary, available_vocabularies, load_vocabulary
from hclip_mmseg.vocabularies.names import check_names, read_names

__all__ = ["Vocabulary", "available_vocabularies", "check_names", "load_vocabulary", "read_names"]
