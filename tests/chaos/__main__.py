"""``python -m tests.chaos --seed N --kills N``: do it, live, and print what came out of it."""

from __future__ import annotations

import argparse
import random
import sys

from tests.chaos.run import Run
from tests.support import processes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--kills", type=int, default=1000, help="processes to kill")
    parser.add_argument("--masters", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3, help="of each master")
    parser.add_argument("--keep", action="store_true", help="keep all files, also of a good run")
    options = parser.parse_args()
    processes.become_subreaper()
    run = Run(options.seed, options.kills, options.masters, options.workers)
    print(f"seed {options.seed}: about {max(1, round(run.expected / 60))} minutes", flush=True)
    outcome = run.play(live=True, keep=options.keep)
    print(outcome.summary())
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
