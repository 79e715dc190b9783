"""Which classes of a benchmark a model met in training, told by their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# endings by which COCO-Stuff and COCO's panoptic classes tell stuff from things of the same name
ENDINGS = ("other", "stuff", "merged")
# one thing under two names in the benchmarks' lists; spelling in one or two words needs no entry
OTHER_NAMES = {
    "aeroplane": "airplane",
    "apparel": "clothes",
    "cloud": "clouds",
    "earth": "ground",
    "fridge": "refrigerator",
    "hair dryer": "hair drier",
    "remote control": "remote",
    "motorbike": "motorcycle",
    "shelves": "shelf",
    "ski": "skis",
    "stair": "stairs",
    "sidewalk": "pavement",
    "sofa": "couch",
    "stairway": "stairs",
    "television receiver": "tv",
    "tvmonitor": "tv",
    "window blinds": "window blind",
    "windowpane": "window",
}


def common_form(name: str) -> str:
    """A class name without case, spaces and hyphens, and without the endings of COCO-Stuff's stuff."""
    words = name.lower().replace("-", " ").replace("_", " ").split()
    while len(words) > 1 and words[-1] in ENDINGS:
        words.pop()
    words = OTHER_NAMES.get(" ".join(words), " ".join(words)).split()
    return "".join(words)


def seen_in_training(names: Sequence[str], training_names: Sequence[str]) -> NDArray[np.bool_]:
    """Which classes have a name, or a synonym, that a training class has too.

    Two names are the same in spite of case, hyphens and spaces ("dining table", "diningtable"), of COCO-Stuff's
    endings ("sky-other", "sky"), and for the few pairs in ``OTHER_NAMES`` ("aeroplane", "airplane"). A synonym that is
    the first name of another class does not count ("dog" of "andiron, firedog, dog"). Nothing is known of classes that
    are parts, kinds or wholes of each other: "wall" is seen for "wall-other", "armchair" is unseen though "chair" is
    seen.

    Args:
        names: of the classes; synonyms of a class follow behind commas.
        training_names: those that masks were shown for, in the same form.

    Returns:
        ``bool [len(names)]``.
    """
    training = {form for name in training_names for form in _forms(name)}
    forms = [_forms(name) for name in names]
    first = {of_class[0] for of_class in forms}
    seen = [any(form in training for form in (own, *(set(others) - first))) for own, *others in forms]
    return np.array(seen, bool)


def _forms(name: str) -> list[str]:
    return [common_form(synonym) for synonym in name.split(",")]
