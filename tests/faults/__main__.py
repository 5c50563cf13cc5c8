"""Run the campaign: `python -m tests.faults --number 10000`.

Faults are dealt out evenly to the borders. A table says what became of them; the exit code is 1 where one was neither
refused in one line nor handled. `--border NAME --first I --number 1` repeats one of them alone.
"""

import argparse
import logging
import tempfile
from pathlib import Path

from tests.faults.borders import BORDERS
from tests.faults.campaign import CLEAN, GOOD, HANDLED, HANG, MEMORY, SILENT, TRACEBACK, run_border

KINDS = (CLEAN, HANDLED, TRACEBACK, SILENT, HANG, MEMORY)


def main() -> int:
    """Run, print, and say whether all went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=10_000, help="faults, for all borders together")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other faults")
    parser.add_argument("--border", choices=[border.name for border in BORDERS], help="only this one")
    parser.add_argument("--first", type=int, default=0, help="number of the first fault of each border")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    borders = [border for border in BORDERS if arguments.border in (None, border.name)]
    each = -(-arguments.number // len(borders))
    print("| border |" + "".join(f" {kind} |" for kind in KINDS))
    print("|---|" + "--:|" * len(KINDS))
    bad = []
    for border in borders:
        with tempfile.TemporaryDirectory() as folder:
            outcome = run_border(border, Path(folder), each, arguments.seed, arguments.first)
        print(f"| {border.name} |" + "".join(f" {outcome.counts[kind]} |" for kind in KINDS), flush=True)
        bad += outcome.bad
    print(*bad[:50], sep="\n")
    print(f"{each * len(borders)} faults, {len(bad)} of them not {' or '.join(GOOD)}")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
