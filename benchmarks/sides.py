"""Two implementations that take turns: each lives in a process of its own, and answers commands by its times.

Only the standard library and NumPy, so that peers with a Python of their own can serve too.
"""

import csv
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

ENVIRONMENT = dict(os.environ)  # of the processes below: before src prepared this one for MindSpore
# PyTorch as it is, and held to the instruction set that MindSpore must be held to (src/__init__.py says why).
PEERS = {"PyTorch": {}, "PyTorch, AVX2 only": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}


def serve(commands: Mapping[str, Callable[[str | None], dict]]) -> None:
    """Say that all is ready, then run a command a line (with at most one argument): one JSON a line out, after '@'.

    An answer has the seconds and CPU seconds of its command, unless the command gives its own. What making ready left
    free in the heap is given back before, on either side, so that it does not count as the commands' memory.
    """
    ctypes.CDLL(None).malloc_trim(0)
    print("@{}", flush=True)
    for line in sys.stdin:
        command, *argument = line.split()
        start, start_cpu = time.perf_counter(), time.process_time()
        answer = commands[command](argument[0] if argument else None)
        spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - start_cpu}
        print("@" + json.dumps({**spent, **answer}), flush=True)


def time_parts(tasks: Mapping[str, tuple[Callable[[], object], ...]], repeats: int = 3) -> dict[str, list[float]]:
    """Median seconds of each task's variants after a first call of each; None stays None."""
    result = {}
    for name, variants in tasks.items():
        result[name] = []
        for work in variants:
            seconds = []
            for _ in range(repeats + 1 if work else 0):
                start = time.perf_counter()
                work()
                seconds.append(time.perf_counter() - start)
            result[name].append(float(np.median(seconds[1:])) if work else None)
    return result


class Side:
    """A process that does what it is told."""

    def __init__(self, *command: object, **environment: str) -> None:
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, **environment},
        )

    def answer(self) -> dict:
        for line in self.process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise SystemExit(f"{self.process.args[1]} ended early")

    def ask(self, command: str) -> dict:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def export_file(config: Path, weights: Path, target: Path, file_format: str, *overrides: object) -> Path:
    """`weights`, a checkpoint, as the file `target` of that format."""
    source = ("--config_path", config, "--checkpoint_path", weights, "--device_target", "CPU")
    program = Path(__file__).resolve().parents[1] / "export.py"
    command = [sys.executable, program, *source, "--file_name", target, "--file_format", file_format, *overrides]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=target.parent)
    if done.returncode:
        raise SystemExit(f"{config} cannot be exported: {done.stderr.strip().splitlines()[-1]}")
    return target


def export_onnx(config: Path, weights: Path, *overrides: object) -> Path:
    """`weights`, a checkpoint, as a file of the same name that ends in .onnx."""
    return export_file(config, weights, weights.with_suffix(".onnx"), "ONNX", *overrides)


def race(command: str, sides: list[Side], rounds: int) -> np.ndarray:
    """Seconds and CPU seconds, [2, rounds, sides], with the sides taking turns."""
    answers = [[side.ask(command) for side in sides] for _ in range(rounds)]
    return np.array([[[a[key] for a in turn] for turn in answers] for key in ("seconds", "cpu_seconds")])


def print_race_header(width: int = 20) -> None:
    columns = ("MindSpore s", 12), ("peer s", 10), ("ratio", 8), ("of the best", 13), ("of CPU time", 13)
    print(f"\n{'':<{width}} {'peer':<20}" + "".join(f"{title:>{size}}" for title, size in columns))


def report_race(name: str, times: np.ndarray, peers: Mapping[str, object], width: int = 20) -> None:
    """One line a peer: medians over the rounds of `race`, whose first side is ours."""
    seconds, cpu = times
    for peer, label in enumerate(peers, start=1):
        ratios = [np.median(t[:, 0] / t[:, peer]) for t in (seconds, cpu)]
        best = seconds[:, 0].min() / seconds[:, peer].min()
        medians = np.median(seconds, axis=0)
        print(
            f"{name:<{width}} {label:<20}{medians[0]:>12.3f}{medians[peer]:>10.3f}{ratios[0]:>8.2f}{best:>13.2f}"
            f"{ratios[1]:>13.2f}"
        )


def operator_times(work: Callable[[], object]) -> dict:
    """Seconds of `work()` and its MindSpore operators as (type, calls, milliseconds), the most costly first."""
    import mindspore as ms

    work()  # memory that is new costs operators more than their work
    with tempfile.TemporaryDirectory() as folder:
        profiler = ms.Profiler(output_path=folder, activities=[ms.profiler.ProfilerActivity.CPU])
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        profiler.analyse()
        table = next(Path(folder).rglob("cpu_op_type_info_*.csv"))
        with table.open(newline="") as file:
            rows = [
                (r["op_type"], int(r["type_occurrences"]), float(r["total_compute_time"])) for r in csv.DictReader(file)
            ]
    return {"seconds": seconds, "operators": sorted(rows, key=lambda row: -row[2])}


def report_operators(name: str, answer: dict) -> None:
    """The twelve most costly operators of an `operator_times`."""
    total = sum(row[2] for row in answer["operators"])
    print(f"\noperators of one {name}: {total / 1000:.3f} s of {answer['seconds']:.3f} s")
    for kind, count, milliseconds in answer["operators"][:12]:
        print(f"  {kind:<32}{count:>6} calls {milliseconds:>9.1f} ms {100 * milliseconds / total:>6.1f} %")
