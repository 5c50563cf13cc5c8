"""What this machine has of what the project needs, what is missing, and what fixes it.

    python tools/doctor.py

Works before anything is installed. A line each for Python, compiler, OpenMP, CPU, memory, disk, shared memory, mpirun,
packages, MindSpore, GPU (driver, CUDA), Ascend (driver, CANN) and the device that would be used; then what to do. Exit
code 2: something is lacking without which nothing works.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.doctor import Machine, diagnose, report


def main() -> int:
    """Look, and tell."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    return report(diagnose(Machine()))


if __name__ == "__main__":
    sys.exit(main())
