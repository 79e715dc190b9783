"""Serving the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from hclip_mmseg.apis import launch
from hclip_mmseg.demo.examples import write_examples
from hclip_mmseg.demo.models import ModelShelf, OfferedModel
from hclip_mmseg.files.errors import InputError

LOOPBACK = "127.0.0.1"


def check_gradio() -> None:
    """Check that Gradio is installed.

    Raises:
        ValueError: if it is not; how to install it.
    """
    if find_spec("gradio") is None:
        raise InputError('the demo needs Gradio, which is not installed: pip install "hclip-mmseg[demo]"')


@contextmanager
def serving(
    models: Sequence[OfferedModel],
    *,
    host: str = LOOPBACK,
    port: int | None = 7860,
    device: str = "auto",
    offline: bool = False,
    max_upload: int = 20,
    kept: int = 2,
) -> Iterator[str]:
    """Serve the page while the block runs; gives its address.

    The first model is opened before. What visitors download lies in a folder that is removed in the end.

    Args:
        models: that are offered.
        host: address that it listens at; the loopback is reached from this machine alone.
        port: of it; None: any that is free.
        device, offline, kept: see :class:`~hclip_mmseg.demo.models.ModelShelf`.
        max_upload: MiB of the largest file that is taken.

    Raises:
        FileNotFoundError, ValueError: if Gradio is missing, a model cannot be opened, or the port is taken.
    """
    check_gradio()
    if max_upload < 1 or kept < 1:
        raise InputError(f"--max-upload and --kept are at least 1, not {max_upload} and {kept}")
    if port is not None and not 1 <= port <= 65535:
        raise InputError(f"--port is a number from 1 to 65535, not {port}")
    launch.choose_device(device)
    shelf = ModelShelf(models, device, offline=offline, kept=kept)
    shelf.inferencer(shelf.names[0])
    import gradio

    from hclip_mmseg.demo.page import Page

    with TemporaryDirectory(prefix="hclip-demo-") as folder:
        blocks = Page(shelf, write_examples(Path(folder)), Path(folder)).build()
        fonts = ["system-ui", "sans-serif"]  # none is fetched from elsewhere
        try:
            _, address, _ = blocks.launch(
                server_name=host,
                server_port=port,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                max_file_size=f"{max_upload}mb",
                theme=gradio.themes.Default(font=fonts, font_mono=["monospace"]),
                ssr_mode=False,
                footer_links=[],
            )
        except OSError as error:
            said = f"the page cannot be served at {host}, port {port}: is it taken? Give another by --port, or --host"
            raise InputError(said) from error
        try:
            yield address
        finally:
            blocks.close(verbose=False)
