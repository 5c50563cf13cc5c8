"""Whether a long training grows: the memory of train.py while its loader's threads prepare thousands of batches.

    python benchmarks/loader_memory.py
    python benchmarks/loader_memory.py --config_path configs/demo/refinedet.yaml --steps 4000 --threads 8

Trains on synthetic pictures of 640 x 640, which are decoded and resized anew for every batch, and prints the process'
resident memory (MB, with that of its children) at ten steps. Exit code 1 when it grows by more than `--limit` MB in the
second half of the training.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
from starts import LOGGED_STEP

ROOT = Path(__file__).resolve().parents[1]
IMAGES = 400


def write_data(folder: Path) -> None:
    """A synthetic data set."""
    options = ["--train", str(IMAGES), "--val", "8", "--classes", "4", "--image_size", "640"]
    program = [sys.executable, "-m", "src.data.synthetic", "--output_dir", str(folder), *options]
    subprocess.run(program, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def resident(process: psutil.Process) -> float:
    """Megabytes of a process and its children."""
    family = [process, *process.children(recursive=True)]
    return sum(one.memory_info().rss for one in family) / 1e6


def megabytes_by_step(command: list[str], every: int, per_line: int) -> dict[int, float]:
    """Memory whenever `every` further steps are done, of which each logged line stands for `per_line`."""
    figures, step = {}, 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        process = psutil.Process(running.pid)
        for line in running.stdout:
            if LOGGED_STEP.search(line):
                step += per_line
                if step % every == 0:
                    figures[step] = resident(process)
                    print(f"step {step:>6}: {figures[step]:>6.0f} MB", flush=True)
            last = line
    if running.returncode:
        raise SystemExit(last)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config_path", type=Path, default=ROOT / "configs/demo/refinedet.yaml")
    parser.add_argument("--steps", type=int, default=4000, help="in all, rounded up to whole epochs (4000)")
    parser.add_argument("--threads", type=int, default=8, help="of the loader (8)")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--limit", type=float, default=20, help="megabytes of growth in the second half (20)")
    arguments = parser.parse_args()
    per_epoch = IMAGES // arguments.batch_size
    every = max(per_epoch, arguments.steps // 10 // per_epoch * per_epoch)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        command = [sys.executable, "train.py", "--config_path", str(arguments.config_path), "--device_target", "CPU"]
        command += ["--train_dataset", str(folder / "train"), "--train_outputs", str(folder / "out"), "--run_eval", "0"]
        command += ["--epoch_size", str(-(-arguments.steps // per_epoch)), "--batch_size", str(arguments.batch_size)]
        command += ["--num_parallel_workers", str(arguments.threads), "--log_every", str(per_epoch)]
        figures = megabytes_by_step(command, every, per_epoch)
    steps = sorted(figures)
    middle = steps[(len(steps) - 1) // 2]
    growth = max(figures[step] for step in steps if step > middle) - figures[middle]
    print(f"growth after step {middle}: {growth:.1f} MB")
    raise SystemExit(int(growth > arguments.limit))


if __name__ == "__main__":
    main()
