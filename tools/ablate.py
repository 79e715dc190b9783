"""Run a whole ablation unattended: python tools/ablate.py [--seeds 3] [--search] [--jobs N] [--out DIR].

Every row of a table is trained with every seed, each in a process of its own through tools/train.py. A finished run
is never repeated while its config, the versions and CLIP's weights are the same, so an interrupted ablation goes on
where it was when the same command is given again. The report is written in the end, and of what there is when
something failed or was interrupted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments

FACTORS = (0.1, 0.3, 1.0, 3.0)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(description="Train every row of an ablation with several seeds; table and plots.")
    add = parser.add_argument
    add("--table", default="configs/ablation/tiny_scenes.py", help="the rows (%(default)s)")
    add("--rows", nargs="+", metavar="ROW", help="only these")
    add("--seeds", type=int, default=3, help="how many, from 0 (%(default)s)")
    add("--out", default="work_dirs/ablation", help="folder of runs and report (%(default)s)")
    searched = "first choose each row's learning rate for its adapters, by the same search for all: one run for each "
    searched += "factor, the best result on training names, on scenes of their own"
    add("--search", action="store_true", help=searched)
    add("--factors", nargs="+", type=float, default=FACTORS, help="of the search (%(default)s times the base's rate)")
    add("--search-iters", type=int, help="length of a run of the search (that of all runs)")
    add("--jobs", type=int, default=1, help="runs at a time, each on its share of the cores (1)")
    add("--threads", type=int, help="threads of a run (its share of the cores)")
    add("--max-iters", type=int, help="length of a run (the base config's)")
    add("--scenes", type=int, help="validation scenes (the base config's)")
    add("--validations", type=int, default=3, help="evaluations of a run, its end included (%(default)s)")
    arguments.add_settings(parser, "replace settings of every run's config")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.ablation.jobs import Settings
    from hclip_mmseg.ablation.run import prepare_ablation, run_ablation
    from hclip_mmseg.apis import launch
    from hclip_mmseg.apis.settings import read_settings

    launch.quieten_dependencies()
    with launch.clear_errors():
        options = read_settings(args.cfg_options)
        settings = Settings(Path(args.out), args.max_iters, args.scenes, args.search_iters, args.validations, options)
        factors = args.factors if args.search else ()
        plan = prepare_ablation(args.table, settings, args.rows, args.seeds, factors, args.jobs, args.threads)
    with launch.run_errors(args.out):
        done = run_ablation(plan)
    if not done:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
