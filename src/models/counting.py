"""Sizes of networks."""

import math
from collections import Counter
from collections.abc import Callable

from mindspore import Tensor, nn

from src.ops.convolution import PointwiseConvolution, layer_by_layer


def parameters_of_layers(net: nn.Cell) -> dict[str, int]:
    """Learned values of each parameter by its name, as publications count them: weights, biases, gammas and betas.

    Frozen gammas and betas count too, running means and variances do not. A shared parameter is there once.
    """
    learned = (p for p in net.get_parameters() if not p.name.endswith(("moving_mean", "moving_variance")))
    return {p.name: math.prod(p.shape) for p in learned}


def count_parameters(net: nn.Cell) -> int:
    """Number of learned values, see `parameters_of_layers`."""
    return sum(parameters_of_layers(net).values())


def macs_of_layers(net: nn.Cell, run: Callable[[], object]) -> dict[str, int]:
    """Multiply-accumulate operations of each convolution and each fully connected layer while `run()` executes.

    Args:
        net: the network that `run` calls, in PYNATIVE mode.
        run: a function without arguments.

    Returns:
        {name of the layer in the network: its output values x the inputs that each of them adds up}.
    """
    totals: Counter[str] = Counter()
    handles = []
    for name, cell in net.cells_and_names():
        if isinstance(cell, nn.Conv2d | nn.Dense | PointwiseConvolution):

            def add(cell: nn.Cell, inputs: tuple, output: Tensor, name: str = name) -> None:
                totals[name] += math.prod(output.shape) * _terms(cell, inputs)

            handles.append(cell.register_forward_hook(add))
    try:
        with layer_by_layer():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return dict(totals)


def _terms(cell: nn.Cell, inputs: tuple) -> int:
    """Products that are added up to one output value."""
    if isinstance(cell, PointwiseConvolution):
        return inputs[1].shape[1]
    if isinstance(cell, nn.Dense):
        return cell.in_channels
    return cell.in_channels // cell.group * math.prod(cell.kernel_size)
