"""`make bench`: all measurements, or those named: `run.py evaluation --xrays 8`, `run.py rendering jobs`.

`evaluation` runs the shipped protocols and prints one table of what each must reach and what it reached; `baselines` adds the lines
of xvr's and PSSS's recipes to it. `networks` prints what `forward`, `training` and `against_bank` have measured in one table. Every comparison is made within one run, because computers differ and change; quote the
ratios. Results go to bench-output/, and a run that was ended goes on there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# What they share with the tests and the panel's host, and the benchmarks themselves.
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

import ablation
import against_bank
import baselines
import cohort
import evaluation
import imaging
import jobs
import network_bars
import network_forward
import panel
import panel_drr
import polyenergetic
import rendering
import report
import training
import ways_to_learn
from volumes import volumes_of

from XVRegistrationLib.errors import InputError

NAMES = (
    "imaging",
    "rendering",
    "polyenergetic",
    "forward",
    "training",
    "ways_to_learn",
    "against_bank",
    "ablation",
    "networks",
    "baselines",
    "evaluation",
    "jobs",
    "cohort",
    "panel_drr",
    "panel",
    "report",
)


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = _parser()
    options = parser.parse_args()
    which = options.which or NAMES
    if unknown := set(which) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose of {', '.join(NAMES)}")
    options.output.mkdir(parents=True, exist_ok=True)
    if "imaging" in which:
        imaging.run(options.output)
    if "rendering" in which:
        rendering.run(options.data, options.output, options.device)
    if "polyenergetic" in which:
        polyenergetic.run(options.data, options.output)
    if "forward" in which:
        network_forward.run(options.output)
    if "training" in which:
        training.run(options.data, options.output, options.xrays, options.budgets, alone=options.budgets_alone)
    if "ways_to_learn" in which:
        ways_to_learn.run(options.data, options.output, options.xrays)
    if "against_bank" in which:
        against_bank.run(options.data, options.output, options.xrays, options.learn, options.against)
    if "ablation" in which:
        ablation.run(options.data, options.output, options.xrays, options.arm, options.others)
    if "networks" in which:
        network_bars.run(options.output)
    compared = baselines.run(options.data, options.output, options.baselines) if "baselines" in which else []
    if "evaluation" in which:
        evaluation.run(
            options.data,
            options.output,
            options.xrays,
            protocols=options.protocols,
            minutes=options.minutes,
            volumes=volumes_of(options.volume),
            wrist=options.wrist,
            compared=compared,
        )
    if "jobs" in which:
        jobs.run(options.data, options.output, options.kills)
    if "cohort" in which:
        cohort.run(options.output)
    if "panel_drr" in which:
        panel_drr.run(options.data, options.output)
    if "panel" in which:
        panel.run(options.data, options.output)
    if "report" in which:
        report.run(options.data, options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("which", nargs="*", metavar="WHICH", help=f"of {', '.join(NAMES)}; all without it")
    parser.add_argument("--data", type=Path, default=Path(".demo-data"), help="folder that keeps the downloaded CT")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench-output"), help="folder for the results")
    parser.add_argument("--device", default="cpu", help="of the benchmark of rendering: cuda:0 for a GPU")
    group = parser.add_argument_group("evaluation")
    group.add_argument("--xrays", type=_positive, default=200, help="X-rays of each protocol")
    group.add_argument(
        "--protocols",
        nargs="+",
        choices=evaluation.PROTOCOLS,
        default=list(evaluation.PROTOCOLS),
        metavar="NAME",
        help="only these",
    )
    group.add_argument(
        "--minutes", type=float, default=0.0, help="also run PSSS's protocol from a network trained for so long, alone"
    )
    group.add_argument(
        "--volume",
        action="append",
        nargs="+",
        default=[],
        metavar=("FILE", "BACKGROUND"),
        help="also run the protocol with strong scatter on this CT, whose value for what was not scanned is BACKGROUND; "
        "can be given several times",
    )
    group.add_argument("--wrist", type=Path, metavar="FOLDER", help="also register the biplane X-rays of a wrist")
    group = parser.add_argument_group("training")
    group.add_argument(
        "--budgets", type=float, nargs="+", default=list(training.BUDGETS), metavar="S", help="seconds to train for"
    )
    group.add_argument("--budgets-alone", action="store_true", help="without profile and memory")
    group = parser.add_argument_group("against_bank")
    group.add_argument(
        "--learn", type=float, default=against_bank.MINUTES, metavar="MINUTES", help="that a network gets"
    )
    group.add_argument(
        "--against",
        nargs="+",
        choices=list(against_bank.PROTOCOLS),
        default=list(against_bank.PROTOCOLS),
        metavar="NAME",
        help="only these protocols",
    )
    group = parser.add_argument_group("ablation")
    group.add_argument("--arm", type=float, default=ablation.MINUTES, metavar="MINUTES", help="that each arm learns")
    group.add_argument("--others", type=Path, metavar="FOLDER", help="CTs of other patients, to pretrain on")
    parser.add_argument("--baselines", type=_positive, default=20, help="X-rays of the benchmark of baselines")
    parser.add_argument("--kills", type=int, default=30, help="of the training's process in the benchmark of jobs")
    return parser


def _positive(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count


if __name__ == "__main__":
    try:
        main()
    except InputError as e:
        sys.exit(f"run.py: {e}")
