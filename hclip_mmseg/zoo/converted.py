"""A model's weights in this project's form: converted on first use, and kept."""

from __future__ import annotations

from pathlib import Path

from hclip_mmseg.conversion.files import convert_checkpoint
from hclip_mmseg.zoo.cache import ReadOnlyError, checked, folder_of, locked
from hclip_mmseg.zoo.download import published_file
from hclip_mmseg.zoo.metafiles import ZooModel

FORM = 1
"""Number of the form of converted files; a change of what the converters write counts it up."""


def checkpoint_of(model: ZooModel, offline: bool = False) -> Path:
    """A checkpoint that the model of the config loads; fetched and converted where it is not here yet.

    Where converted weights cannot be kept, since the folder is for reading only, the published file is given: whoever
    loads it converts it in memory.

    Args:
        model: that has published weights.
        offline: whether the network must not be used.

    Raises:
        ValueError: as :func:`~.download.published_file`, or if the file is none of a kind that can be converted.
    """
    published = published_file(model, offline)
    assert model.weights is not None
    if not model.weights.converted:
        return published
    # named by what it was made from: a published file that is replaced is converted anew
    made_from = checked(published, model.weights.url).sha256[:12]
    converted = folder_of(model) / f"converted{FORM}-{made_from}.pth"
    if converted.is_file():
        return converted
    try:
        with locked(folder_of(model)):
            if not converted.is_file():
                print(convert_checkpoint(published, converted))
    except ReadOnlyError:
        return published
    return converted
