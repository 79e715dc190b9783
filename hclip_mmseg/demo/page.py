"""The page, by Gradio."""

from __future__ import annotations

import filecmp
import shutil
import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from hclip_mmseg.demo.asking import Answer, Request, answer, read_upload
from hclip_mmseg.demo.examples import Example
from hclip_mmseg.demo.html import hover_svg, result_table
from hclip_mmseg.demo.models import ModelShelf
from hclip_mmseg.files.errors import line_of
from hclip_mmseg.results import Result

KEPT_SECONDS = 3600
"""How long files for download, and what visitors gave, are kept."""
WAITING = 20
"""Visitors that may wait for their turn; more are told to come again."""
INTRODUCTION = """# Find anything by its name
Drop an image, write class names, and see where they are. Names stand between commas; `person = man, woman; cat` is a
class of several names, and `coco_stuff_171` a benchmark's list. The mouse over the image says the names."""
SHOW_ADDRESS = """(query) => {
  if (!query) return "";
  history.replaceState(null, "", query);
  return location.href;
}"""


def path_of(payload: ImageData | None) -> str | None:
    """The path of an image's file; None where nothing was given."""
    return None if payload is None else payload.path


class Page:
    """What the page does.

    Args:
        shelf: the models.
        examples: name -> image and names.
        folder: for files that visitors download.
    """

    def __init__(self, shelf: ModelShelf, examples: Mapping[str, Example], folder: Path) -> None:
        self.shelf, self.examples, self.folder = shelf, examples, folder
        first, example = next(iter(examples.items()))
        self.start = Request(shelf.names[0], example.names, example=first)

    def restore(self, request: gr.Request) -> list[Any]:
        """The values of the fields that an address says, and whether it says any."""
        query = dict(request.query_params)
        asked = self.start.updated(query, self.shelf.names, tuple(self.examples))
        if "example" in query and "names" not in query:
            asked = Request(**{**vars(asked), "names": self.examples[asked.example].names})
        image = str(self.examples[asked.example].path)
        return [image, asked.names, asked.model, asked.background, asked.threshold, asked.compare, "names" in query]

    def find(
        self,
        path: str | None,
        names: str,
        model: str,
        background: str,
        threshold: float,
        compare: bool,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio finds it there)
    ) -> list[Any]:
        """The values of all outputs.

        Raises:
            gradio.Error: with the line that says what is wrong.
        """
        try:
            if path is None:
                raise ValueError("no image: drop one, or choose an example")
            asked = Request(model, names, background, threshold, compare, self.example_of(path))
            found = answer(asked, read_upload(path), self.shelf, progress)
        except (ValueError, FileNotFoundError, KeyError) as error:
            raise gr.Error(line_of(error), duration=None, print_exception=False) from error
        return self.outputs(found, asked, Path(path).stem)

    def find_restored(self, asked: bool, *inputs: Any, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
        """As :meth:`find` where an address says what is asked; else nothing changes."""
        path, names, model, background, threshold, compare = inputs
        return self.find(path, names, model, background, threshold, compare, progress) if asked else [gr.skip()] * 7

    def outputs(self, found: Answer, asked: Request, name: str) -> list[Any]:
        """Both drawings, the table, heat maps, notes, files, and the end of the page's address."""
        drawn, frozen = hover_svg(found.result), ""
        if found.frozen is not None:
            drawn, frozen = f"<b>{escape(asked.model)}</b>{drawn}", f"<b>frozen CLIP</b>{hover_svg(found.frozen)}"
        return [
            drawn,
            gr.update(value=frozen, visible=bool(frozen)),
            result_table(found.result),
            gr.update(value=[(image, title) for image, title in found.heat_maps], visible=bool(found.heat_maps)),
            gr.update(value="\n".join(f"- {note}" for note in found.notes), visible=bool(found.notes)),
            self.files_of(found.result, name),
            asked.query(),
        ]

    def example_of(self, path: str) -> str:
        """The name of the example that a file is; "" of others."""
        same = (name for name, example in self.examples.items() if filecmp.cmp(path, example.path, shallow=False))
        return next(same, "")

    def files_of(self, result: Result, name: str) -> list[str]:
        """The label map and the JSON of a result as files; those of an hour ago are removed."""
        for old in self.folder.glob("answer_*"):
            if time.time() - old.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        folder = Path(mkdtemp(prefix="answer_", dir=self.folder))
        result.save(folder, "json" if result.labels is None else "labels,json", name)
        return [str(path) for path in sorted(folder.iterdir())]

    def build(self) -> gr.Blocks:
        """The page with its fields, drawings and events."""
        with gr.Blocks(
            title="hclip_mmseg", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)
        ) as blocks:
            gr.Markdown(INTRODUCTION)
            with gr.Row():
                with gr.Column():
                    image: Any = gr.Image(
                        type="filepath", sources=["upload", "clipboard"], label="Image", elem_id="image"
                    )
                    # the file is read here and not by Gradio, so that errors say what is wrong
                    image.preprocess = path_of
                    names = gr.Textbox(label="Class names", lines=2, elem_id="names")
                    model = gr.Dropdown(list(self.shelf.names), label="Model", elem_id="model")
                    background = gr.Textbox(
                        label="Background: names that compete, called background", elem_id="background"
                    )
                    threshold = gr.Slider(0, 1, step=0.01, label="Threshold: least score", elem_id="threshold")
                    compare = gr.Checkbox(label="Side by side with the frozen CLIP", elem_id="compare")
                    button = gr.Button("Find", variant="primary", elem_id="find")
                    gr.Examples([list(map(str, each)) for each in self.examples.values()], [image, names])
                with gr.Column(scale=2):
                    with gr.Row():
                        drawn = gr.HTML(elem_id="drawn")
                        frozen = gr.HTML(elem_id="frozen", visible=False)
                    notes = gr.Markdown(visible=False, elem_id="notes")
                    table = gr.HTML(elem_id="table")
                    maps = gr.Gallery(label="Where each name scores", columns=4, visible=False, elem_id="maps")
                    files = gr.File(label="Label map and JSON", file_count="multiple", elem_id="files")
                    query = gr.Textbox(visible="hidden", elem_id="query")
                    link = gr.Textbox(
                        label="Address of this page as it is (with an example's image)",
                        interactive=False, buttons=["copy"], elem_id="link",
                    )  # fmt: skip
            inputs = [image, names, model, background, threshold, compare]
            outputs = [drawn, frozen, table, maps, notes, files, query]
            restored = gr.State(False)
            show = dict(fn=None, inputs=query, outputs=link, js=SHOW_ADDRESS)
            # "multiple": else a click is lost while an earlier answer, such as to a new threshold, is awaited
            gr.on([button.click, names.submit, background.submit, threshold.release], self.find, inputs, outputs,
                  api_name="find", trigger_mode="multiple").success(**show)  # fmt: skip
            blocks.load(self.restore, None, [*inputs, restored], api_visibility="private").then(
                self.find_restored, [restored, *inputs], outputs, api_visibility="private"
            ).success(**show)
        return blocks.queue(max_size=WAITING, default_concurrency_limit=1)
