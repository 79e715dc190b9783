"""Draw the images of docs/how-to/predict.md and docs/how-to/demo.md: what each option does, and the demo's page.

    python docs/make_option_images.py

Everything is of one rendered scene and the embedded tiny CLIP (NACLIP); segments and boxes, which it does not give, are
those of the ground truth. The page is photographed by headless Chromium (extra demo, playwright), if there is one.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import label

from hclip_mmseg.apis import OpenVocabInferencer, Result
from hclip_mmseg.demo.examples import SEED, SIZE
from hclip_mmseg.demo_assets.scenes import SCENE_CLASSES, Scene, render_scene
from hclip_mmseg.results import Boxes, Segment
from hclip_mmseg.visualization import draw_heat_map
from hclip_mmseg.visualization.text import INK, PAPER, font

IMAGES = Path(__file__).parent / "images"
CONFIG = "configs/training_free/naclip_tiny_scenes.py"
WIDTH, TITLE, GAP, LETTERS = 1060, 22, 12, 12  # pixels


def true_objects(scene: Scene) -> list[tuple[int, NDArray[np.bool_]]]:
    """(index in the scene's names, mask) of its connected regions."""
    found = []
    for index, name in enumerate(scene.names):
        parts, count = label(scene.labels == SCENE_CLASSES.index(name))
        found += [(index, parts == part) for part in range(1, count + 1) if (parts == part).sum() > 96]
    return found


def panoptic(scene: Scene) -> Result:
    """The true segments, of the objects."""
    ids, segments = np.zeros(scene.labels.shape, np.int32), []
    for number, (index, mask) in enumerate(true_objects(scene), 1):
        ids[mask] = number
        segments.append(Segment(number, index, True, scene.names[index], float(mask.mean())))
    return Result("scene", scene.image, tuple(scene.names), ids=ids, segments=tuple(segments))


def boxes(scene: Scene) -> Result:
    """The true boxes, of the objects."""
    corners, labels = [], []
    for index, mask in true_objects(scene):
        if len(scene.names[index].split()) == 3:  # no background
            rows, columns = np.nonzero(mask)
            corners.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            labels.append(index)
    found = Boxes(np.array(corners, np.float32), np.ones(len(labels), np.float32), np.array(labels))
    return Result("scene", scene.image, tuple(scene.names), boxes=found)


def sheet(panels: Sequence[tuple[str, NDArray[np.uint8]]]) -> Image.Image:
    """Panels of one height in rows, a title above each."""
    images = [(title, Image.fromarray(image)) for title, image in panels]
    images = [(title, image.resize((round(image.width * SIZE / image.height), SIZE))) for title, image in images]
    places, left, top = [], 0, 0
    for title, image in images:
        width = max(image.width, round(font(LETTERS).getlength(title))) + GAP
        if left + width > WIDTH:
            left, top = 0, top + SIZE + TITLE + GAP
        places.append((left, top))
        left += width
    drawn = Image.new("RGB", (WIDTH, top + SIZE + TITLE), PAPER)
    for (title, image), (left, top) in zip(images, places, strict=True):
        ImageDraw.Draw(drawn).text((left, top + 4), title, fill=INK, font=font(LETTERS))
        drawn.paste(image, (left, top + TITLE))
    return drawn


def draw_options() -> None:
    """Write images/options.png."""
    scene = render_scene(SEED, 0, SIZE)
    inferencer = OpenVocabInferencer(CONFIG, device="cpu")
    pixels, names = scene.image[..., ::-1].copy(), ", ".join(scene.names)

    def ask(vocabulary: str, **rules: object) -> Result:
        return next(inferencer(pixels, vocabulary, scores=True, **rules))

    found = ask(names)
    assert found.scores is not None
    first = scene.names[0]
    others = ", ".join(scene.names[1:])
    panels = [
        ("the overlay", found.overlay()),
        ("--alpha 0.25", found.overlay(alpha=0.25)),
        ("--names-on-regions", found.overlay(names_on_regions=True, legend=False)),
        ("--side-by-side", found.overlay(side_by_side=True)),
        ("--format labels", np.asarray(found.to_pil().convert("RGB"))),
        ("--background: all names but the first", ask(first, background=others).overlay()),
        ("--threshold 0.9", ask(names, threshold=0.9).overlay()),
        ("--threshold 0.9 --other", ask(names, threshold=0.9, other=True).overlay()),
        ("--negatives: all names but the first", ask(first, negatives=others).overlay()),
        (f"where {first} scores (the demo)", draw_heat_map(found.image, found.scores[0])),
        ("--panoptic (ground truth)", panoptic(scene).overlay()),
        ("boxes of a detector (ground truth)", boxes(scene).overlay()),
    ]
    sheet(panels).quantize(128).save(IMAGES / "options.png", optimize=True)


def photograph_page() -> None:
    """Write images/demo.png, the page with an answer, if there is a Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no Chromium: the page is not photographed")
        return
    from playwright.sync_api import sync_playwright

    from hclip_mmseg.demo.models import offered_models
    from hclip_mmseg.demo.serve import serving

    query = "?model=naclip_tiny_scenes&example=scene_1&compare=1"
    names = ", ".join(render_scene(SEED, 0, SIZE).names)
    with serving(offered_models(()), port=None, device="cpu") as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=dict(width=1280, height=980))
        page.goto(f"{address}{query}&names={names}")
        page.locator("#frozen svg.found").wait_for()
        page.locator("#maps img").first.wait_for()
        page.wait_for_timeout(1500)  # until the images are there
        page.screenshot(path=IMAGES / "demo.png")
        browser.close()
    Image.open(IMAGES / "demo.png").quantize(128).save(IMAGES / "demo.png", optimize=True)


if __name__ == "__main__":
    draw_options()
    photograph_page()
