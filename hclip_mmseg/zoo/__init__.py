"""Models by name: which there are, where their weights are published, and how these come onto this machine.

The folder stands below ``apis``, whose commands and inferencers take a name where they take a config, and above
``conversion``, by which published weights become a model's. It knows no runs and builds no models.
"""

from hclip_mmseg.zoo.metafiles import ZooModel, find_model, read_zoo

__all__ = ["ZooModel", "find_model", "read_zoo"]
