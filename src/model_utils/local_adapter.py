"""What the launcher of this process (mpirun, msrun, or none) says about its rank among the processes."""

import os
from contextlib import suppress
from functools import cache

# (rank, world size, rank on this machine) as Open MPI and msrun name them
_LAUNCHERS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("RANK_ID", "RANK_SIZE", "DEVICE_ID"),
    ("MS_NODE_ID", "MS_WORKER_NUM", "MS_NODE_ID"),
)


def is_scheduler() -> bool:
    """Whether this process is msrun's scheduler, which only joins the communication."""
    return os.environ.get("MS_ROLE") == "MS_SCHED"


def launched_as() -> tuple[int, int, int] | None:
    """(rank, world size, rank on this machine) that a launcher gave this process; None without a launcher.

    msrun also starts a scheduler from the same command, which only joins the communication and has no rank of its own.
    """
    if is_scheduler():
        return 0, int(os.environ["MS_WORKER_NUM"]), 0
    for rank, world, local in _LAUNCHERS:
        values = [os.environ.get(name, "") for name in (rank, world, local)]
        if all(value.lstrip("-").isdigit() for value in values) and int(values[0]) >= 0:
            return int(values[0]), int(values[1]), int(values[2])
    return None


def note_step(step: int) -> None:
    """Tell the script that launched this process its last step, which it names should this process die."""
    handle = _step_file()
    if handle is not None:
        with suppress(OSError):  # a full disk must not end the training here
            os.pwrite(handle, str(step).encode(), 0)


@cache
def _step_file() -> int | None:
    """The file that scripts/one_rank.sh reads; it stays open, so that a step costs one short write."""
    path = os.environ.get("STEP_FILE", "")
    with suppress(OSError):
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666) if path else None
    return None
