"""Sizes of networks."""

import math

from mindspore import Tensor, nn


def count_parameters(net: nn.Cell) -> int:
    """Number of learned values as publications count them: weights, biases, gammas and betas, each shared one once.

    Frozen gammas and betas count too; running means and variances do not.
    """
    seen = {id(p): p for p in net.get_parameters()}
    learned = (p for p in seen.values() if not p.name.endswith(("moving_mean", "moving_variance")))
    return sum(math.prod(p.shape) for p in learned)


def count_macs(net: nn.Cell, run) -> int:
    """Multiply-accumulate operations of all convolutions while `run()` executes in PYNATIVE mode.

    Args:
        net: the network that `run` calls.
        run: a function without arguments.

    Returns:
        Sum over convolutions of output pixels x kernel size x input channels x output channels.
    """
    total = 0

    def add(cell: nn.Conv2d, _inputs, output: Tensor):
        nonlocal total
        batch, channels, height, width = output.shape
        per_output = cell.in_channels // cell.group * cell.kernel_size[0] * cell.kernel_size[1]
        total += batch * channels * height * width * per_output

    convolutions = [cell for _, cell in net.cells_and_names() if isinstance(cell, nn.Conv2d)]
    handles = [cell.register_forward_hook(add) for cell in convolutions]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return total
