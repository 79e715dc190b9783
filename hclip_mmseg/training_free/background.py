"""Names that stand for what a benchmark counts as background."""

from __future__ import annotations

from collections.abc import Sequence

BACKGROUND_NAMES: dict[str, tuple[str, ...]] = {
    "coco_object": (
        "textile", "building", "furniture", "structural", "floor", "ceiling", "sky", "ground", "water", "food",
        "solid", "wall", "window", "desk", "lamp", "wardrobe", "banner", "blanket", "branch", "bridge",
        "building-other", "bush", "cabinet", "cage", "cardboard", "carpet", "ceiling-other", "ceiling-tile",
        "cloth", "clothes", "clouds", "counter", "cupboard", "curtain", "desk-stuff", "dirt", "door-stuff",
        "fence", "floor-marble", "floor-other", "floor-stone", "floor-tile", "floor-wood", "flower", "fog",
        "food-other", "fruit", "furniture-other", "grass", "gravel", "ground-other", "hill", "house", "leaves",
        "light", "mat", "metal", "mirror-stuff", "moss", "mountain", "mud", "napkin", "net", "paper",
        "pavement", "pillow", "plant-other", "plastic", "platform", "playingfield", "railing", "railroad",
        "river", "road", "rock", "roof", "rug", "salad", "sand", "sea", "shelf", "sky-other", "skyscraper",
        "snow", "solid-other", "stairs", "stone", "straw", "structural-other", "table", "tent", "textile-other",
        "towel", "tree", "vegetable", "wall-brick", "wall-concrete", "wall-other", "wall-panel", "wall-stone",
        "wall-tile", "wall-wood", "water-other", "waterdrops", "window-blind", "window-other", "wood",
    ),
    "pascal_voc_21": (
        "background", "sky", "wall", "white", "tree", "wood", "grass", "road", "trail", "sea", "river", "water",
        "box", "signboard", "mountain", "sands", "bed", "building", "cloud", "lamp", "door", "window",
        "wardrobe", "ceiling", "shelf", "curtain", "stair", "floor", "ground", "beachhill", "rail", "fence",
    ),
    "pascal_context_60": ("background",),
}  # fmt: skip
"""Benchmark -> the names that CLIPtrase compares with beside the classes; a prediction of any is background."""

BACKGROUND = "background"


def background_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """The names of a benchmark's background, or those given.

    Raises:
        KeyError: if no benchmark of that name has any.
    """
    if not isinstance(names, str):
        return tuple(names)
    if names not in BACKGROUND_NAMES:
        raise KeyError(f"no background names of '{names}'; there are those of {', '.join(BACKGROUND_NAMES)}")
    return BACKGROUND_NAMES[names]


def expand_background(classes: Sequence[str], background: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """What is to be compared with an image for classes of which one may be the background.

    Args:
        classes: in label order.
        background: names that stand for the class 'background', if there is one; else they are not used. Empty:
            the class is asked for by its own name.

    Returns:
        the names to ask for, each once, and the class that each of them stands for. A name of several classes stands
        for the first, and a background name that is a class of its own for that class.
    """
    class_of = {}
    for label, name in enumerate(classes):
        if name != BACKGROUND or not background:
            class_of.setdefault(name, label)
    if BACKGROUND in classes:
        for name in background:
            class_of.setdefault(name, classes.index(BACKGROUND))
    return tuple(class_of), tuple(class_of.values())
