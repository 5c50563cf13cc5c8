"""Batch normalization and its gradients on the CPU: the project's kernels and MindSpore's operators.

    OMP_NUM_THREADS=1 python benchmarks/batch_norm.py

Compiled graphs of the gradients of one layer take turns on the same inputs in one process; printed are milliseconds of
CPU time per call, medians of seven rounds. Exit code 1 when the gradients or running statistics differ.
"""

import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SHAPES = ((8, 64, 32, 32), (8, 32, 64, 64), (8, 256, 8, 8), (2, 64, 200, 200), (2, 256, 50, 50))
STATISTICS = {"batch's": True, "stored": False}
ROUNDS = 7
VALUES_PER_ROUND = 4e7
TOLERANCE = 3e-5  # of the largest value; MindSpore's own distance from float64 reaches 7e-6


def make_gradients(by_batch: bool, channels: int) -> list:
    """Graphs of the gradients of x, gamma and beta: by the kernels, by MindSpore's operators."""
    import mindspore as ms
    from mindspore import nn, ops

    from src.ops.batch_norm import BatchNorm2d

    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")

    class Gradients(nn.Cell):
        def __init__(self, layer: nn.Cell) -> None:
            super().__init__()
            self.layer = layer
            self.parameters = ms.ParameterTuple(layer.trainable_params())
            self.grad = ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)

        def construct(self, x, dout):
            return self.grad(self.layer, self.parameters)(x, dout)

    layers = [BatchNorm2d(channels, use_batch_statistics=by_batch) for _ in range(2)]
    layers[1].use_standard_operators()
    return [Gradients(layer) for layer in layers]


def results(net, x, dout) -> list[np.ndarray]:
    """Gradients, and what the running statistics are after a call."""
    (dx,), gradients = net(x, dout)
    tensors = (dx, *gradients, net.layer.moving_mean, net.layer.moving_variance)
    return [tensor.asnumpy() for tensor in tensors]


def milliseconds(net, x, dout) -> float:
    """CPU time of a call."""
    calls = max(3, int(VALUES_PER_ROUND / x.size))
    start = time.process_time()
    for _ in range(calls):
        (dx,), _ = net(x, dout)
    dx.asnumpy()
    return (time.process_time() - start) / calls * 1000


def main() -> int:
    """Compare, then measure; the exit code."""
    import src  # noqa: F401  before mindspore
    from mindspore import Tensor  # isort: skip

    wrong = 0
    for name, by_batch in STATISTICS.items():
        for shape in SHAPES:
            nets = make_gradients(by_batch, shape[1])
            rng = np.random.default_rng(0)
            x, dout = (Tensor(rng.standard_normal(shape, np.float32)) for _ in range(2))
            pairs = zip(*(results(net, x, dout) for net in nets), strict=True)
            wrong += any(np.abs(a - b).max() > TOLERANCE * max(np.abs(b).max(), 1e-2) for a, b in pairs)
            ours, theirs = np.median([[milliseconds(net, x, dout) for net in nets] for _ in range(ROUNDS)], axis=0)
            print(f"{name} statistics, {shape}: ours {ours:.2f}, MindSpore {theirs:.2f}, {theirs / ours:.1f} times")
    if wrong:
        print(f"error: {wrong} cases differ", file=sys.stderr)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
