"""Find words in images in a browser: python tools/demo.py [--model NAME ...], then open the address that it prints."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(
        description="Serve a page in which images are dropped and names written. Without --model it offers what needs "
        "no download: the tiny models of rendered scenes."
    )
    add = parser.add_argument
    offered = "configs, or names that hclip-models lists: what visitors can choose from"
    add("--model", "--config", nargs="+", default=[], metavar="MODEL", help=offered)
    add("--checkpoint", help="trained weights of the first model (as hclip-predict finds them)")
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 is the network (%(default)s)")
    add("--port", type=int, default=7860, help="(%(default)s)")
    add("--max-upload", type=int, default=20, metavar="MIB", help="largest file taken (%(default)s)")
    add("--kept", type=int, default=2, help="models kept in memory at once (%(default)s)")
    arguments.add_device(parser)
    arguments.add_offline(parser)
    args = parser.parse_args(argv)
    if args.checkpoint and not args.model:
        parser.error("--checkpoint needs the --model that it is of")
    return args


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.demo.models import offered_models
    from hclip_mmseg.demo.serve import check_gradio, serving

    launch.prepare_process()
    launch.interrupt_on_termination()
    with launch.clear_errors():
        check_gradio()
        models = offered_models(args.model, args.checkpoint)
        options = dict(host=args.host, port=args.port, device=args.device, offline=args.offline)
        with serving(models, max_upload=args.max_upload, kept=args.kept, **options) as address:
            print(f"open {address} in a browser; Ctrl-C ends the demo", flush=True)
            threading.Event().wait()


if __name__ == "__main__":
    main()
