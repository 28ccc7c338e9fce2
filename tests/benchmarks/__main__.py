"""The one command: ``python -m tests.benchmarks``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .peers import OURS, PEERS, installed
from .process import set_environment

SUITES = (
    "step",
    "inference",
    "job",
    "recording",
    "growth",
    "floor",
    "memory",
    "drawing",
    "page",
    "further",
    "set_aside",
)
ROUNDS, QUICK_ROUNDS = 15, 2
SECONDS, QUICK_SECONDS = 0.25, 0.05


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    made = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure tinygraph beside its peers.")
    made.add_argument("--only", nargs="+", choices=SUITES, default=SUITES, metavar="SUITE", help=", ".join(SUITES))
    made.add_argument("--rounds", type=int, help=f"turns of everybody at everything (default {ROUNDS})")
    made.add_argument("--quick", action="store_true", help="short turns, few rounds, small sizes: to see it work")
    made.add_argument("--threads", type=int, default=2, help="threads of everybody (default 2)")
    made.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS, metavar="PEER", help=", ".join(PEERS))
    made.add_argument("--kernels", choices=("numpy", "numba"), default="numpy", help="of tinygraph (default numpy)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="draw a picture there; needs matplotlib")
    return made


def main() -> None:
    """Measure what was asked for, and say what came out."""
    options = parser().parse_args()
    # Libraries read their number of threads when they are imported, so this comes before NumPy.
    set_environment(options.threads, options.kernels)
    from .drawing import measure_drawing
    from .floor import measure_floor
    from .further import measure_further, measure_set_aside
    from .growth import measure_growth
    from .job import measure_job
    from .measure import Settings
    from .memory import measure_memory
    from .networks import measure_inference, measure_steps
    from .page import measure_page
    from .recording import measure_recording
    from .report import Results, text

    chosen = dict.fromkeys([OURS, *options.peers])
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    seconds = QUICK_SECONDS if options.quick else SECONDS
    settings = Settings(
        rounds, options.threads, tuple(filter(installed, chosen)), options.quick, seconds, options.kernels
    )
    for name in chosen:
        if name not in settings.peers:
            print(f"{name}: not installed")
    measures = (
        measure_steps,
        measure_inference,
        measure_job,
        measure_recording,
        measure_growth,
        measure_floor,
        measure_memory,
        measure_drawing,
        measure_page,
        measure_further,
        measure_set_aside,
    )
    results = Results(settings)
    for suite, measure in zip(SUITES, measures, strict=True):
        if suite in options.only:
            for result in measure(settings):
                results.add(result)
                what = getattr(result, "work", None) or f"{result.what} against {result.axis}"
                print(f"{suite}: {what}", file=sys.stderr, flush=True)
            if options.json:
                results.write(options.json)
    print(text(results))
    if options.plot:
        from .plot import plot

        plot(results, options.plot)


if __name__ == "__main__":
    main()
