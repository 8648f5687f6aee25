"""`make bench`: all measurements, or those named: `run.py rendering registration [--xrays 200] [--minutes 5]`.

Every comparison is made within one run, because computers differ and change; quote the ratios. Results go to bench-output/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import jobs
import panel
import panel_drr
import registration
import rendering


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    names = ["rendering", "registration", "jobs", "panel_drr", "panel"]
    parser.add_argument("which", nargs="*", choices=names, default=names)
    parser.add_argument("--xrays", type=int, default=200, help="X-rays of the registration benchmark")
    parser.add_argument("--minutes", type=float, default=5.0, help="training time of its network")
    parser.add_argument("--kills", type=int, default=30, help="of the training's process in the benchmark of jobs")
    parser.add_argument("--data", type=Path, default=Path(".demo-data"), help="folder that keeps the downloaded CT")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench-output"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if "rendering" in options.which:
        rendering.run(options.data, options.output)
    if "registration" in options.which:
        registration.run(options.data, options.output, options.xrays, options.minutes)
    if "jobs" in options.which:
        jobs.run(options.data, options.output, options.kills)
    if "panel_drr" in options.which:
        panel_drr.run(options.data, options.output)
    if "panel" in options.which:
        panel.run(options.data, options.output)


if __name__ == "__main__":
    main()
