"""Prompt templates: what a class name is put into before the text tower reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hclip_mmseg.files.errors import InputError

ARTICLE = "{article}"
"""Where a template has it, the class name's article stands in the prompt."""
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


def _vild_63() -> tuple[str, ...]:
    """ViLD's templates for detection, as F-ViT and CLIM fill them in."""
    own, the, a = "{article} {}", "the {}", "a {}"
    photos = [f"a photo of {seen}" for seen in (own, "my {}", the, "one {}", "many {}")]
    photos += [f"a {quality} photo of {seen}" for quality in ("good", "bad", *QUALITIES) for seen in (own, the)]
    photos += [f"a photo of {which} {looks} {{}}" for looks in LOOKS for which in ("a", "the")]
    photos += [f"a painting of {seen}" for seen in (the, a)]
    things = [f"{which} {made} {{}}" for made in ("plastic", "toy", "plushie", "cartoon") for which in ("a", "the")]
    things += ["an embroidered {}", "the embroidered {}"]
    scenes = [f"This is a photo of {seen} in the scene." for seen in (own, the, "one {}")]
    scenes += [f"There is {seen} in the scene." for seen in (own, the)]
    taken = [f"itap of {seen}." for seen in (own, "my {}", the)]  # "I took a picture of"
    return (*scenes, *taken, *(f"This is {text}." for text in (*photos, *things)))


QUALITIES = (
    "bright",
    "dark",
    "low resolution",
    "cropped",
    "close-up",
    "jpeg corrupted",
    "blurry",
    "pixelated",
    "black and white",
)
LOOKS = ("nice", "cool", "weird", "small", "large", "clean", "dirty", "hard to see")


def _imagenet() -> tuple[str, ...]:
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


def resolve_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Templates by name or as given.

    Args:
        templates: 'scene' (H-CLIP's and CAT-Seg's one template), 'vild' (14, of ViLD), 'vild-63' (ViLD's for
            detection, as F-ViT and CLIM fill them in), 'imagenet' (the 80 of CLIP, as open_clip carries them), one
            template with ``{}``, or a sequence of templates. ``{article}`` in a template becomes "a" or "an".

    Returns:
        The templates, at least one, each with exactly one ``{}``.

    Raises:
        ValueError: on an unknown name, an empty sequence, or a template without ``{}``.
    """
    if isinstance(templates, str):
        named = {"scene": lambda: SCENE, "vild": lambda: VILD, "vild-63": _vild_63, "imagenet": _imagenet}
        if templates in named:
            return named[templates]()
        if "{}" not in templates:
            raise ValueError(
                f"unknown templates {templates!r}: use 'scene', 'vild', 'vild-63', 'imagenet', or a text with {{}} "
                "where the class name belongs"
            )
        templates = (templates,)
    templates = tuple(templates)
    if not templates:
        raise ValueError("no prompt template given: at least one is needed, for instance 'a photo of a {}'")
    for template in templates:
        rest = template.replace(ARTICLE, "")
        if rest.count("{}") != 1:
            raise ValueError(f"prompt template {template!r} must hold {{}} exactly once, for the class name")
        if set("{}") & set(rest.replace("{}", "")):
            raise ValueError(f"prompt template {template!r} has braces other than {{}} and {ARTICLE}")
    return templates


def read_templates(source: str | Path | Sequence[str]) -> str | Sequence[str]:
    """What :func:`resolve_templates` takes, from what a person gives: that itself, or a file with one template a line.

    Empty lines and lines that begin with # are passed over.

    Raises:
        FileNotFoundError: if it looks like a file and there is none.
        ValueError: if the file is no text, or holds no template.
    """
    if not isinstance(source, (str, Path)) or "{" in str(source) or not Path(source).suffix:
        return str(source) if isinstance(source, Path) else source
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"no file of prompt templates at {path.absolute()}")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file in UTF-8, so templates cannot be read from it") from error
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise InputError(f"{path} holds no prompt template: write one a line, such as 'a photo of a {{}}'")
    return found


def prompt(template: str, name: str) -> str:
    """A template filled in with a class name: "an" before a small a, e, i, o or u, else "a", as ViLD's code has it."""
    return template.format(name, article="an" if name[:1] in tuple("aeiou") else "a")
