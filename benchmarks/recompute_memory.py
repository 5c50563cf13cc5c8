"""Memory and time of a training step of ResNet on the CPU, with and without `recompute`.

    python benchmarks/recompute_memory.py
    python benchmarks/recompute_memory.py --depth 18 --side 256 --rounds 1

The loss is the mean square of all feature maps; a step computes the gradients and updates the weights with SGD. Each
case has a process of its own, and they take turns. Memory is the highest of the process over what it needed before
its first step; time is the median of the steps after the first, which compiles.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

STEPS = 4


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Megabytes, seconds and the sum of all weights after the steps of one case."""
    import src  # noqa: F401, I001 - before mindspore
    import mindspore as ms
    from mindspore import nn

    from src.blocks.backbones import ResNet

    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_seed(1)

    class MeanSquare(nn.Cell):
        def __init__(self, net: nn.Cell) -> None:
            super().__init__(auto_prefix=False)
            self.net = net

        def construct(self, images: ms.Tensor) -> ms.Tensor:
            total = 0.0
            for feature in self.net(images):
                total = total + (feature * feature).mean()
            return total

    net = ResNet(args.depth, norm_eval=args.case.startswith("stored"))
    if args.case.endswith("recompute"):
        net.recompute_blocks()
    optimizer = nn.Momentum(net.trainable_params(), 1e-4, 0.9)
    step = nn.TrainOneStepCell(MeanSquare(net), optimizer).set_train(True)
    shape = (args.batch, 3, args.side, args.side)
    images = ms.Tensor(np.random.default_rng(1).standard_normal(shape, np.float32))
    before, seconds = peak_megabytes(), []
    for _ in range(1 + STEPS):
        start = time.perf_counter()
        step(images).asnumpy()
        seconds.append(time.perf_counter() - start)
    weights = sum(float(np.abs(one.asnumpy()).sum(dtype=np.float64)) for one in net.get_parameters())
    return {"megabytes": peak_megabytes() - before, "seconds": float(np.median(seconds[1:])), "weights": weights}


def peak_megabytes() -> float:
    """Most memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the table; fails where `recompute` changes what is learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=50, help="of the ResNet (50)")
    parser.add_argument("--side", type=int, default=512, help="of the images (512)")
    parser.add_argument("--batch", type=int, default=2, help="images per step (2)")
    parser.add_argument("--rounds", type=int, default=1, help="measurements of each case (1)")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print("@" + json.dumps(measure(args)))
        return
    cases = [f"{norm}{how}" for norm in ("batch", "stored") for how in ("", "_recompute")]
    found: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(args.rounds):
        for case in cases:
            command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
            shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[case].append(json.loads(shown.rsplit("@", 1)[1]))
    print("| statistics of batch normalization | recompute | memory of the step | s per step |\n|---|---|---|---|")
    for case, results in found.items():
        megabytes, seconds = (np.median([one[name] for one in results]) for name in ("megabytes", "seconds"))
        norm, _, how = case.partition("_")
        print(f"| {norm} | {1 if how else 0} | {megabytes:.0f} MB | {seconds:.2f} |")
        if abs(results[0]["weights"] / found[norm][0]["weights"] - 1) > 1e-8:
            raise SystemExit(f"{case} learned something else than {norm}")


if __name__ == "__main__":
    main()
