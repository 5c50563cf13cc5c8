"""The one place that knows about devices: which there are, what each needs, how processes communicate."""

import logging
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from src.common.errors import UserError
from src.common.mindspore_version import unsupported_mindspore
from src.model_utils.graph_cache import open_graph_cache
from src.model_utils.local_adapter import is_scheduler, launched_as
from src.schema import Config

logger = logging.getLogger(__name__)

DEVICE_FILES = Path("/dev")


@dataclass(frozen=True)
class Device:
    """Where this process runs."""

    target: str  # CPU, GPU or Ascend
    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0


def setup_device(config: Config) -> Device:
    """Choose and prepare the device, start the communication of a distributed run, set mode and seeds.

    A process that no launcher started runs alone even where `run_distribute` is set: the configuration that a
    distributed training saves also evaluates, predicts and exports.

    Raises:
        UserError: the device is not available, `device_num` is not the number of processes that were launched, or the
            folder of `compile_cache` is not the user's own.
    """
    import mindspore as ms

    if reason := unsupported_mindspore():
        logger.warning(reason)
    target = target_of(config)
    launched = launched_as() if config.run_distribute else None
    if launched and config.device_num not in (1, launched[1]):
        raise UserError(
            f"device_num is {config.device_num}, but the launcher started {launched[1]} processes; "
            f"--device_num {launched[1]} would fit"
        )
    local_rank = launched[2] if launched else config.device_id
    number = local_rank if target != "CPU" else 0
    try:
        ms.set_device(target, number)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        if not ("runtime has been initialized" in reason and _runs_on(target, number)):
            raise UserError(
                f"device_target {target} is not usable here ({reason}); CPU always is; "
                "python tools/doctor.py says what this machine lacks"
            ) from None
    _set_context(config, target)
    device = Device(target) if launched is None else _join(target, launched)
    open_graph_cache(config, target, device.rank, device.world)
    return device


def target_of(config: Config) -> str:
    """The device that a configuration asks for: CPU, GPU or Ascend."""
    return find_device() if config.device_target == "auto" else config.device_target


def writes_air(target: str) -> bool:
    """Whether AIR files can be written there: the format is Ascend's own."""
    return target == "Ascend"


def can_sink_steps(target: str) -> bool:
    """Whether the device has a queue of batches that a training step takes by itself."""
    return target != "CPU"


def current_target() -> str:
    """'CPU', 'GPU' or 'Ascend': what networks that are built now run on."""
    import mindspore as ms

    return str(ms.get_context("device_target"))


def _runs_on(target: str, number: int) -> bool:
    """Whether this process has its device already, which cannot be set again: a second detector of a program."""
    import mindspore as ms

    return current_target() == target and ms.get_context("device_id") == number


def find_device() -> str:
    """'Ascend', 'GPU' or 'CPU': the best that this machine has."""
    if any(DEVICE_FILES.glob("davinci[0-9]*")):
        return "Ascend"
    if shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
        if listed.returncode == 0 and "GPU" in listed.stdout:
            return "GPU"
    return "CPU"


def _set_context(config: Config, target: str) -> None:
    import mindspore as ms

    ms.set_context(mode=ms.GRAPH_MODE if config.mode == "graph" else ms.PYNATIVE_MODE)
    if config.jit_level:
        ms.set_context(jit_config={"jit_level": config.jit_level})
    if config.deterministic:
        ms.set_context(deterministic="ON")
    if config.enable_graph_kernel and target != "CPU":
        ms.set_context(enable_graph_kernel=True)
    ms.set_seed(config.seed)


def _join(target: str, launched: tuple[int, int, int]) -> Device:
    """Start the communication; the sizes are the launcher's."""
    import mindspore as ms
    from mindspore.communication import get_group_size, get_rank, init

    try:
        init()
    except RuntimeError as error:
        if is_scheduler():  # in its `init` a scheduler waits for the end of the training
            raise UserError(
                f"a process of the training died or no longer answers, see its log ({str(error).splitlines()[0]})"
            ) from None
        raise UserError(f"communication did not start on {target} ({str(error).splitlines()[0]})") from None
    device = Device(target, get_rank(), get_group_size())
    if device.world != launched[1]:
        raise UserError(f"{device.world} processes joined, but the launcher announced {launched[1]}")
    if device.world > 1:
        ms.set_auto_parallel_context(
            parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True, device_num=device.world
        )
    return device
