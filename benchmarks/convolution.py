"""Convolutions and fully connected layers on the CPU: the project's kernels, MindSpore's operators and PyTorch's.

    python benchmarks/convolution.py --torch_python /path/to/a/python/with/torch

Three processes take turns on the same inputs, with the same number of threads; outputs and gradients of the kernels are
compared first, with PyTorch's in float64. A turn computes a layer of several inputs, one after the other in one graph,
as a network does: a single small convolution would be lost in the start of a graph, and in what the last turn left in
the caches. Ratios are medians over the rounds of the other's time / ours. Gradients are those to input and weights,
times include the forward pass. Exit code 1 when the results differ.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from sides import Side, race, serve

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# Name: batch, input channels, output channels, kernel, stride, height and width; kernel 0: fully connected.
CASES = {
    "stem_7x7/2_800": (1, 3, 64, 7, 2, 800),
    "layer1_3x3_200": (1, 64, 64, 3, 1, 200),
    "layer1_1x1_200_reduce": (1, 256, 64, 1, 1, 200),
    "layer1_1x1_200_expand": (1, 64, 256, 1, 1, 200),
    "layer2_3x3/2_200": (1, 128, 128, 3, 2, 200),
    "layer3_3x3_50": (1, 256, 256, 3, 1, 50),
    "layer4_1x1/2_50": (1, 1024, 2048, 1, 2, 50),
    "layer4_3x3_25": (1, 512, 512, 3, 1, 25),
    "fpn_3x3_200": (1, 256, 256, 3, 1, 200),
    "fpn_3x3_80": (1, 256, 256, 3, 1, 80),
    "fpn_3x3_20": (1, 256, 256, 3, 1, 20),
    "fpn_3x3_13": (1, 256, 256, 3, 1, 13),
    "rpn_1x1_200": (1, 256, 3, 1, 1, 200),
    "mask_3x3_100x14": (100, 256, 256, 3, 1, 14),
    "fc_12544_1000": (1000, 12544, 1024, 0, 1, 1),
    "fc_1024_1000": (1000, 1024, 1024, 0, 1, 1),
}


# Floats that the inputs and results of a turn take, and inputs at most.
TURN_FLOATS, MOST_INPUTS = 1 << 24, 64


def inputs_per_turn(name: str) -> int:
    """How many inputs a turn computes the layer of."""
    batch, ins, outs, kernel, stride, size = CASES[name]
    floats = batch * (ins * size**2 + outs * (-(-size // stride)) ** 2) if kernel else batch * (ins + outs)
    return max(1, min(MOST_INPUTS, TURN_FLOATS // floats))


def make_inputs(names: list[str]) -> dict[str, np.ndarray]:
    """x, weight and dout of each case."""
    rng = np.random.default_rng(1)
    arrays = {}
    for name in names:
        batch, ins, outs, kernel, stride, size = CASES[name]
        side = -(-size // stride)
        shapes = (
            ((batch, ins, size, size), (outs, ins, kernel, kernel), (batch, outs, side, side))
            if kernel
            else ((batch, ins), (outs, ins), (batch, outs))
        )
        for part, shape in zip(("x", "weight", "dout"), shapes, strict=True):
            arrays[f"{name} {part}"] = rng.standard_normal(shape, np.float32)
        arrays[f"{name} stride"] = np.array(stride)
        arrays[f"{name} inputs"] = np.array(inputs_per_turn(name))
    return arrays


def serve_mindspore(inputs: str) -> None:
    """The kernels, or with CUSTOM_CONV=0 MindSpore's operators."""
    import src  # noqa: F401  before mindspore
    import mindspore as ms  # isort: skip
    from mindspore import nn, ops  # isort: skip

    from src.blocks.layers import Dense, conv2d

    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")

    class Forward(nn.Cell):
        def __init__(self, layer: nn.Cell) -> None:
            super().__init__()
            self.layer = layer

        def construct(self, *inputs):
            results = ()
            for x in inputs:
                results = results + (self.layer(x),)
            return results

    class Gradient(nn.Cell):
        def __init__(self, layer: nn.Cell) -> None:
            super().__init__()
            self.layer = layer
            self.grad = ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)
            self.weights = ms.ParameterTuple([layer.weight])

        def construct(self, dout, *inputs):
            results = ()
            for x in inputs:
                results = results + (self.layer(x), self.grad(self.layer, self.weights)(x, dout))
            return results

    given, forwards, gradients = {}, {}, {}
    with np.load(inputs) as data:
        for name in {key.split()[0] for key in data.files}:
            x, weight, dout = (data[f"{name} {part}"] for part in ("x", "weight", "dout"))
            outs, ins, *kernel = weight.shape
            layer = (
                conv2d(ins, outs, kernel[0], int(data[f"{name} stride"]))
                if kernel
                else Dense(ins, outs, has_bias=False)
            )
            layer.weight.set_data(ms.Tensor(weight))
            forwards[name], gradients[name] = Forward(layer), Gradient(layer)
            given[name] = ms.Tensor(dout), *(ms.Tensor(x) for _ in range(int(data[f"{name} inputs"])))

    def forward(name: str) -> dict:
        forwards[name](*given[name][1:])[-1].asnumpy()
        return {}

    def gradient(name: str) -> dict:
        gradients[name](*given[name])[-1][1][0].asnumpy()
        return {}

    def save(name: str) -> dict:
        out, (dx, dweights) = gradients[name](*given[name])[:2]
        np.savez("ours.npz", *(result.asnumpy() for result in (out, dx[0], dweights[0])))
        return {}

    serve(
        {
            "forward": forward,
            "gradient": gradient,
            "save": save,
        }
    )


def largest_difference() -> float:
    """Of outputs and gradients, as shares of their largest values."""
    with np.load("ours.npz") as ours, np.load("peer.npz") as peer:
        return max(float(np.abs(ours[k] - peer[k]).max() / np.abs(peer[k]).max()) for k in peer.files)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_mindspore(arguments.serve)
        return 0
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # MindSpore leaves files where it runs
        np.savez("inputs.npz", **make_inputs(arguments.cases))
        threads = {"OMP_NUM_THREADS": str(arguments.threads)}
        mindspore = (sys.executable, __file__, "--serve", "inputs.npz")
        sides = [
            Side(*mindspore, CUSTOM_CONV="1", **threads),
            Side(*mindspore, CUSTOM_CONV="0", **threads),
            Side(arguments.torch_python, ROOT / "benchmarks/peers/torch_convolution.py", "inputs.npz", **threads),
        ]
        for side in sides:
            side.answer()
        print(
            f"{arguments.threads} threads, medians of {arguments.rounds} rounds\n{'':<32}{'ours ms':>9}{'GFLOP/s':>9}"
            f"{'MindSpore ms':>14}{'ratio':>7}{'PyTorch ms':>12}{'ratio':>7}{'difference':>12}"
        )
        for name in arguments.cases:
            sides[0].ask(f"save {name}")
            sides[2].ask(f"save {name}")
            difference = largest_difference()
            worst = max(worst, difference)
            batch, ins, outs, kernel, stride, size = CASES[name]
            operations = 2 * batch * ins * outs * (kernel or 1) ** 2 * (-(-size // stride)) ** 2
            for work, factor in (("forward", 1), ("gradient", 3)):
                race(f"{work} {name}", sides, 1)
                seconds = race(f"{work} {name}", sides, arguments.rounds)[0]
                medians = 1e3 * np.median(seconds, axis=0) / inputs_per_turn(name)
                ratios = np.median(seconds / seconds[:, :1], axis=0)
                print(
                    f"{name + ' ' + work:<32}{medians[0]:>9.1f}{factor * operations / medians[0] / 1e6:>9.0f}"
                    f"{medians[1]:>14.1f}{ratios[1]:>7.2f}{medians[2]:>12.1f}{ratios[2]:>7.2f}{difference:>12.1e}",
                    flush=True,
                )
        for side in sides:
            side.close()
        os.chdir(ROOT)
    return 0 if worst < 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main())
