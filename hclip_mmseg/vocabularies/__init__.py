"""Lists of class names: the benchmarks' own, and those that people write."""

from hclip_mmseg.vocabularies.benchmarks import available_vocabularies, load_vocabulary, styled_name
from hclip_mmseg.vocabularies.class_files import read_class_file
from hclip_mmseg.vocabularies.names import Names, read_names, read_vocabulary
from hclip_mmseg.vocabularies.vocabulary import Vocabulary, as_vocabulary, check_names

__all__ = [
    "Names",
    "Vocabulary",
    "as_vocabulary",
    "available_vocabularies",
    "check_names",
    "load_vocabulary",
    "read_class_file",
    "read_names",
    "read_vocabulary",
    "styled_name",
]
