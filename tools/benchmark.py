"""Measure time and memory against other forms of the same work: python tools/benchmark.py [ROW ...] [--json F].

Every form runs in a process of its own, for its peak memory. On a GPU times are device events and memory is the
device's. Beside ours stands its floor: the operations of its matrix products and convolutions, over the rate that a
large matrix product reaches in the same process. docs/results/speed.md says what the rows are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed; in the processes that measure too)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(description="Measure time and peak memory, ours against another form.")
    add = parser.add_argument
    add("rows", nargs="*", metavar="ROW", help="such as whole-150 (all rows of docs/results/speed.md)")
    add("--repeat", type=int, default=5, help="timed steps of a form, after one that is not (5)")
    add(
        "--seconds", type=float, default=20, help="end the steps of a form that is compared with a direct one then (20)"
    )
    add("--device", choices=["cpu", "cuda"], help="(cuda where there is one)")
    add("--precision", choices=["fp32", "tf32", "bf16"], default="fp32", help="of both forms of a row (fp32)")
    add("--clock", choices=["wall", "processor"], default="wall", help="processor: CPU time, on a busy machine (wall)")
    add("--json", metavar="FILE", help="write all numbers there, after every row")
    add("--markdown", metavar="FILE", help="write the table there")
    add("--plot", metavar="FILE", help="write a plot of time and memory there")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> int:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.costs import benchmark

    with launch.clear_errors():
        outputs = (args.json, args.markdown, args.plot)
        benchmark.check_request(args.rows, args.repeat, outputs, args.precision, args.device)
    with launch.run_errors():
        record = benchmark.run_benchmark(
            args.rows, args.repeat, args.seconds, args.device, *outputs, args.precision, args.clock
        )
    return 1 if record["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
