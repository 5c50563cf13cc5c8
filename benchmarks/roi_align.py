"""RoIAlign on the CPU against torchvision's: the two cases of a Mask R-CNN at 800 pixels, forward and with gradient.

    python benchmarks/roi_align.py --torch_python /path/to/a/python/with/torchvision

Both live in processes of their own that take turns on the same inputs, with the same number of threads; results are
compared first, with torchvision's in float64. The ratio is the median over the rounds of torchvision's time / ours.
Then the two numbers that bound the work: bytes that must move (each feature map and output once) and operations of the
separable algorithm; and what of each was achieved a second, beside what this machine copies. Exit code 1 when the
results differ.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sides import Side, race

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CHANNELS, SIZE, STRIDE = 256, 200, 4
CASES = {7: 512, 14: 100}  # bins along a side: RoIs


def make_inputs() -> dict[str, np.ndarray]:
    """One feature map, boxes whose sides are 16 to 400 pixels of the 800-pixel input, and a gradient for each case."""
    rng = np.random.default_rng(1)
    extent = SIZE * STRIDE
    sides = np.exp(rng.uniform(np.log(16), np.log(400), (max(CASES.values()), 2)))
    corners = rng.uniform(0, extent - sides)
    rois = np.concatenate([np.zeros((len(sides), 1)), corners, corners + sides], 1).astype(np.float32)
    gradients = {
        f"dout{bins}": rng.standard_normal((count, CHANNELS, bins, bins), np.float32) for bins, count in CASES.items()
    }
    return {"features": rng.standard_normal((1, CHANNELS, SIZE, SIZE), np.float32), "rois": rois, **gradients}


def serve(inputs: str) -> None:
    """Our side: answer commands as peers/torchvision_roi_align.py does."""
    import src  # noqa: F401  before mindspore
    import mindspore as ms  # isort: skip
    from mindspore import nn  # isort: skip

    from src.blocks.roi_extractors import RoIAlign

    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)

    class Pool(nn.Cell):
        """RoIAlign on one level, with the level itself as argument."""

        def __init__(self, bins: int) -> None:
            super().__init__()
            self.roi_align = RoIAlign(bins, [STRIDE])

        def construct(self, features, rois):
            return self.roi_align((features,), rois)

    class Gradient(nn.Cell):
        """Forward, and the gradient with respect to the features."""

        def __init__(self, pool: Pool) -> None:
            super().__init__()
            self.pool = pool
            self.grad = ms.ops.GradOperation(sens_param=True)

        def construct(self, features, rois, dout):
            return self.pool(features, rois), self.grad(self.pool)(features, rois, dout)

    with np.load(inputs) as data:
        arrays = {name: ms.Tensor(data[name]) for name in data.files}
    pools = {bins: Pool(bins) for bins in CASES}
    gradients = {bins: Gradient(pools[bins]) for bins in CASES}
    rois = {bins: arrays["rois"][:count] for bins, count in CASES.items()}

    def forward(bins: int) -> ms.Tensor:
        return pools[bins](arrays["features"], rois[bins])

    def gradient(bins: int) -> ms.Tensor:
        return gradients[bins](arrays["features"], rois[bins], arrays[f"dout{bins}"])[1]

    print("@{}", flush=True)
    for line in sys.stdin:
        command, bins, *save_to = line.split()
        start, start_cpu = time.perf_counter(), time.process_time()
        result = {"forward": forward, "gradient": gradient}[command](int(bins))
        spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - start_cpu}
        if save_to:
            np.save(save_to[0], result.asnumpy())
        print("@" + json.dumps(spent), flush=True)


# --- what bounds the work -----------------------------------------------------------------------------------------


def touched_pixels(start: float, length: float, bins: int) -> tuple[int, int]:
    """Pixels of one axis that an RoI reads, and the sum over its bins of the pixels of each."""
    samples = int(np.ceil(length / bins))
    positions = start + (np.arange(bins * samples) + 0.5) * length / (bins * samples)
    low = np.clip(np.floor(positions), 0, SIZE - 1).astype(int).reshape(bins, samples)
    pixels = [np.unique(np.minimum([row, row + 1], SIZE - 1)) for row in low]
    return len(np.unique(np.concatenate(pixels))), sum(len(p) for p in pixels)


def operations(rois: np.ndarray, bins: int) -> float:
    """Multiplications and additions of the forward pass; the gradient's are as many."""
    total = 0
    for _, x1, y1, x2, y2 in rois.astype(np.float64) / STRIDE:
        columns, taps_x = touched_pixels(x1 - 0.5, x2 - x1, bins)
        _, taps_y = touched_pixels(y1 - 0.5, y2 - y1, bins)
        total += 2 * CHANNELS * (columns * taps_y + bins * taps_x)
    return total


def copy_rate() -> float:
    """Bytes read and written per second by one thread that copies."""
    source = np.ones(32_000_000, np.float32)
    target = np.empty_like(source)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best


def report(name: str, times: np.ndarray, moved: float, counted: float) -> None:
    ours, peer = np.median(times[0], axis=0)
    ratio = np.median(times[0][:, 1] / times[0][:, 0])
    print(
        f"{name:<28}{1e3 * ours:>9.1f}{1e3 * peer:>13.1f}{ratio:>8.1f}{moved / 1e6:>9.0f}{counted / 1e9:>8.2f}"
        f"{moved / ours / 1e9:>8.1f}{counted / ours / 1e9:>10.1f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", default=sys.executable, help="a Python that has torch and torchvision")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # MindSpore leaves files where it runs
        inputs = make_inputs()
        np.savez("inputs.npz", **inputs)
        threads = str(arguments.threads)
        ours = Side(sys.executable, __file__, "--serve", "inputs.npz", OMP_NUM_THREADS=threads)
        peer = Side(arguments.torch_python, ROOT / "benchmarks/peers/torchvision_roi_align.py", "inputs.npz", threads)
        ours.answer()
        peer.answer()
        worst = 0.0
        for command in (f"{work} {bins}" for bins in CASES for work in ("forward", "gradient")):
            ours.ask(f"{command} ours.npy")
            peer.ask(f"{command} peer.npy")
            expected = np.load("peer.npy")
            worst = max(worst, float(np.abs(np.load("ours.npy") - expected).max() / np.abs(expected).max()))
        print(f"largest difference from torchvision in float64: {worst:.1e} of the largest value")
        print(
            f"this machine copies {copy_rate() / 1e9:.1f} GB/s with one thread\n\n{arguments.threads} threads, "
            f"medians of {arguments.rounds} rounds\n{'':<28}{'ours ms':>9}{'torchvision':>13}{'ratio':>8}"
            f"{'MB':>9}{'Gop':>8}{'GB/s':>8}{'Gop/s':>10}"
        )
        for bins, count in CASES.items():
            moved = inputs["features"].nbytes + inputs[f"dout{bins}"].nbytes
            counted = operations(inputs["rois"][:count], bins)
            for work, factor in (("forward", 1), ("gradient", 2)):
                times = race(f"{work} {bins}", [ours, peer], arguments.rounds)
                label = "forward" if factor == 1 else "forward + gradient"
                report(f"{count} x {bins}x{bins} {label}", times, factor * moved, factor * counted)
        ours.close()
        peer.close()
    return 0 if worst < 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main())
