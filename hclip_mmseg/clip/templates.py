"""Prompt templates: what a class name is put into before the text tower reads it."""

from __future__ import annotations

from collections.abc import Sequence

SCENE = ("A photo of a {} in the scene",)

VILD = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    "a photo of a small {}.",
    "a photo of a medium {}.",
    "a photo of a large {}.",
    "This is a photo of a small {}.",
    "This is a photo of a medium {}.",
    "This is a photo of a large {}.",
    "There is a small {} in the scene.",
    "There is a medium {} in the scene.",
    "There is a large {} in the scene.",
)


def _imagenet() -> tuple[str, ...]:
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


def resolve_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Templates by name or as given.

    Args:
        templates: 'scene' (H-CLIP's and CAT-Seg's one template), 'vild' (14, of ViLD), 'imagenet' (the
            80 of CLIP, as open_clip carries them), one template with ``{}``, or a sequence of templates.

    Returns:
        The templates, at least one, each with exactly one ``{}``.

    Raises:
        ValueError: on an unknown name, an empty sequence, or a template without ``{}``.
    """
    if isinstance(templates, str):
        named = {"scene": lambda: SCENE, "vild": lambda: VILD, "imagenet": _imagenet}
        if templates in named:
            return named[templates]()
        if "{}" not in templates:
            raise ValueError(
                f"unknown templates {templates!r}: use 'scene', 'vild', 'imagenet', or a text with {{}} "
                "where the class name belongs"
            )
        templates = (templates,)
    templates = tuple(templates)
    if not templates:
        raise ValueError("no prompt template given: at least one is needed, for instance 'a photo of a {}'")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"prompt template {template!r} must hold {{}} exactly once, for the class name")
    return templates
