"""Batch normalization and its gradients on the CPU, alone and with ReLU: the project's kernels, MindSpore's operators.

    OMP_NUM_THREADS=1 python benchmarks/batch_norm.py

Compiled graphs of the gradients of one layer take turns on the same inputs in one process; printed are milliseconds of
CPU time per call by one kernel, by the normalization's kernel and MindSpore's operators for what follows it, and by
MindSpore's operators alone, medians of seven rounds. Exit code 1 when the gradients or running statistics differ.
"""

import sys
import time
from itertools import product
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SHAPES = ((8, 64, 32, 32), (8, 32, 64, 64), (8, 256, 8, 8), (2, 64, 200, 200), (2, 256, 50, 50))
STATISTICS = {"batch's": True, "stored": False}
FOLLOWING = {"nothing": (False, False), "ReLU": (False, True), "shortcut and ReLU": (True, True)}
ROUNDS = 7
VALUES_PER_ROUND = 4e7
TOLERANCE = 3e-5  # of the largest value; MindSpore's own distance from float64 reaches 7e-6


def make_gradients(by_batch: bool, channels: int, add: bool, relu: bool) -> list:
    """Graphs of the gradients of x, a shortcut, gamma and beta.

    By one kernel, by the kernel of normalization and MindSpore's operators for what follows, by MindSpore's operators.
    """
    import mindspore as ms
    from mindspore import nn, ops

    from src.ops.batch_norm import BatchNorm2d

    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")

    class Apart(nn.Cell):
        def __init__(self, layer: nn.Cell) -> None:
            super().__init__()
            self.layer = layer

        def construct(self, x, shortcut):
            x = self.layer(x) + shortcut if add else self.layer(x)
            return ops.relu(x) if relu else x

    class Together(Apart):
        def construct(self, x, shortcut):
            if not relu:
                return self.layer(x)
            return self.layer.with_shortcut_and_relu(x, shortcut) if add else self.layer.with_relu(x)

    class Gradients(nn.Cell):
        def __init__(self, net: nn.Cell) -> None:
            super().__init__()
            self.net, self.layer = net, net.layer
            self.parameters = ms.ParameterTuple(net.trainable_params())
            self.grad = ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)

        def construct(self, x, shortcut, dout):
            return self.grad(self.net, self.parameters)(x, shortcut, dout)

    layers = [BatchNorm2d(channels, use_batch_statistics=by_batch) for _ in range(3)]
    layers[2].use_standard_operators()
    return [Gradients(net) for net in (Together(layers[0]), Apart(layers[1]), Apart(layers[2]))]


def results(net, *inputs) -> list[np.ndarray]:
    """Gradients, and what the running statistics are after a call."""
    of_inputs, of_parameters = net(*inputs)
    tensors = (*of_inputs, *of_parameters, net.layer.moving_mean, net.layer.moving_variance)
    return [tensor.asnumpy() for tensor in tensors]


def differ(ours: list[np.ndarray], theirs: list[np.ndarray]) -> bool:
    """Whether any arrays do, by more than rounding."""
    pairs = zip(ours, theirs, strict=True)
    return any(np.abs(a - b).max() > TOLERANCE * max(np.abs(b).max(), 1e-2) for a, b in pairs)


def milliseconds(net, *inputs) -> float:
    """CPU time of a call."""
    calls = max(3, int(VALUES_PER_ROUND / inputs[0].size))
    start = time.process_time()
    for _ in range(calls):
        (dx, _), _ = net(*inputs)
    dx.asnumpy()
    return (time.process_time() - start) / calls * 1000


def main() -> int:
    """Compare, then measure; the exit code."""
    import src  # noqa: F401  before mindspore
    from mindspore import Tensor  # isort: skip

    wrong = 0
    for (name, by_batch), (following, kind), shape in product(STATISTICS.items(), FOLLOWING.items(), SHAPES):
        nets = make_gradients(by_batch, shape[1], *kind)
        rng = np.random.default_rng(0)
        inputs = [Tensor(rng.standard_normal(shape, np.float32)) for _ in range(3)]
        found = [results(net, *inputs) for net in nets]
        wrong += any(differ(found[0], others) for others in found[1:])
        times = np.median([[milliseconds(net, *inputs) for net in nets] for _ in range(ROUNDS)], axis=0)
        print(f"{name} statistics, {following}, {shape}: {', '.join(f'{time:.2f}' for time in times)}")
    if wrong:
        print(f"error: {wrong} cases differ", file=sys.stderr)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
