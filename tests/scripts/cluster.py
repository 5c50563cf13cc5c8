"""Stand-ins for what launch.sh starts: msrun, mpirun, and train.py, whose processes count steps instead of training.

Run as a program it is one of them: `cluster.py msrun|mpirun|train ARGUMENT...`.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def msrun(arguments: list[str]) -> None:
    """Start a scheduler and workers, end all workers when one fails, wait for the scheduler. As MindSpore's does."""
    options = dict(word[2:].split("=", 1) for word in arguments if word.startswith("--") and "=" in word)
    number, here, logs = int(options["worker_num"]), int(options["local_worker_num"]), Path(options["log_dir"])
    first = int(options.get("node_rank", 0)) * here
    command = arguments[arguments.index("python3") :]
    os.environ["MS_WORKER_NUM"] = str(number)

    def begin(log: str, **variables: object) -> subprocess.Popen:
        names = {name: str(value) for name, value in variables.items()}
        with (logs / log).open("w") as output:
            return subprocess.Popen(
                command, env={**os.environ, **names}, stdout=output, stderr=output,
                start_new_session="MS_NODE_ID" in names,
            )  # fmt: skip

    scheduler = begin("scheduler.log", MS_ROLE="MS_SCHED", RANK_ID=0) if first == 0 else None
    workers = []
    for rank in range(first, first + here):
        workers.append(begin(f"worker_{rank}.log", MS_ROLE="MS_WORKER", MS_NODE_ID=rank, RANK_ID=rank))
        time.sleep(float(os.environ.get("SPAWN_SECONDS", "0")))
    while any(worker.poll() is None for worker in workers):
        if any(worker.poll() for worker in workers):
            for worker in workers:
                if worker.poll() is None:
                    os.killpg(worker.pid, signal.SIGKILL)
        time.sleep(0.2)
    if scheduler is not None:
        scheduler.wait()
    sys.exit(any(worker.returncode for worker in workers))


def mpirun(arguments: list[str]) -> None:
    """Start the ranks and wait for them."""
    number, command = int(arguments[arguments.index("-n") + 1]), arguments[arguments.index("bash") :]
    os.environ["OMPI_COMM_WORLD_SIZE"] = str(number)
    ranks = [subprocess.Popen(command, env={**os.environ, "OMPI_COMM_WORLD_RANK": str(i)}) for i in range(number)]
    sys.exit(max(rank.wait() for rank in ranks))


def train() -> None:
    """Count steps as far as STEPS; asked to stop, rank 0 ends its step and saves. HANGS: nothing stops by itself."""
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        return
    rank = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["RANK_ID"]

    def stop(*_: object) -> None:
        if "HANGS" in os.environ:
            return
        if rank == "0":
            time.sleep(0.3)
            while Path("left").exists():  # without the other rank its step does not end
                time.sleep(1)
            Path("saved").touch()
        else:
            Path("left").touch()
        sys.exit(143)

    signal.signal(signal.SIGTERM, stop)
    print(f"training with rank {rank}", flush=True)
    for step in range(1, 1200):
        if step <= int(os.environ.get("STEPS", "1200")):
            Path(os.environ["STEP_FILE"]).write_text(str(step), encoding="ascii")
        time.sleep(0.05)


if __name__ == "__main__":
    {"msrun": lambda: msrun(sys.argv[2:]), "mpirun": lambda: mpirun(sys.argv[2:]), "train": train}[sys.argv[1]]()
