"""RoIAlign's CUDA kernels against torchvision's, on the cases of benchmarks/roi_align.py.

    python benchmarks/gpu/roi_align.py      # needs a GPU, nvcc, torchvision; no MindSpore

The library is called as MindSpore calls it, on PyTorch's arrays, so that one process times both. Results are compared
with torchvision's in float64 first (outputs filled with NaN before), and the gradient with itself on a second run.
Times are CUDA events' medians; inputs take turns so that they exceed the cache. Exit code 1 when results differ.
"""

import ctypes
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torchvision.ops import roi_align

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from roi_align import CASES, STRIDE, make_inputs, operations  # noqa: E402  found by the line above

TOLERANCES = {torch.float32: 1e-5, torch.float16: 2e-3}
COPIES = 4  # of the inputs: 4 x 41 MB, an H200's cache has 50 MB
ROUNDS = 50


def call(library: ctypes.CDLL, name: str, *tensors: torch.Tensor) -> None:
    """Run an entry on the current stream; inputs first, then outputs."""
    count = len(tensors)
    shapes = [(ctypes.c_int64 * t.dim())(*t.shape) for t in tensors]
    code = getattr(library, name)(
        count,
        (ctypes.c_void_p * count)(*[t.data_ptr() for t in tensors]),
        (ctypes.c_int * count)(*[t.dim() for t in tensors]),
        (ctypes.c_void_p * count)(*[ctypes.addressof(s) for s in shapes]),
        (ctypes.c_char_p * count)(*[str(t.dtype).removeprefix("torch.").encode() for t in tensors]),
        ctypes.c_void_p(torch.cuda.current_stream().cuda_stream),
        None,
    )
    if code != 0:
        raise SystemExit(f"{name} returned {code}")


def milliseconds(work: Callable[[int], object]) -> float:
    """Median time of `work(copy)`."""
    for copy in range(COPIES):
        work(copy)
    times = []
    for i in range(ROUNDS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work(i % COPIES)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def race(library: ctypes.CDLL, bins: int, kind: torch.dtype) -> bool:
    """Compare and time one case in one precision; whether the results agree."""
    inputs = make_inputs()
    rois = torch.from_numpy(inputs["rois"][: CASES[bins]]).cuda()
    levels = [torch.from_numpy(inputs["features"]).to("cuda", kind).requires_grad_() for _ in range(COPIES)]
    dout = torch.from_numpy(inputs[f"dout{bins}"]).to("cuda", kind)
    settings = torch.tensor([0, 1, 56, STRIDE], dtype=torch.float32, device="cuda")
    out, gradient = torch.full_like(dout, torch.nan), torch.full_like(levels[0], torch.nan)

    def theirs(level: torch.Tensor, boxes: torch.Tensor = rois) -> torch.Tensor:
        return roi_align(level, boxes.to(level.dtype), bins, 1 / STRIDE, 0, aligned=True)

    def forward(copy: int) -> None:
        call(library, "RoiAlign", levels[copy].detach(), rois, settings, out)

    def backward(copy: int) -> None:
        call(library, "RoiAlignGrad", levels[copy].detach(), rois, settings, dout, gradient)

    forward(0)
    backward(0)
    first = gradient.clone()
    backward(0)
    exact = levels[0].detach().double().requires_grad_()
    wanted = theirs(exact)
    wanted_gradient = torch.autograd.grad(wanted, exact, dout.double())[0]
    errors = [
        float((found.double() - expected).abs().max() / expected.abs().max())
        for found, expected in ((out, wanted.detach()), (gradient, wanted_gradient))
    ]
    agree = max(errors) < TOLERANCES[kind] and torch.equal(first, gradient)
    print(f"{len(rois)} x {bins}x{bins} {kind}: errors {errors[0]:.1e} {errors[1]:.1e}, {'fine' if agree else 'WRONG'}")

    graphs = [theirs(level) for level in levels]
    works = {
        "forward": (forward, lambda copy: theirs(levels[copy].detach())),
        "gradient": (backward, lambda copy: torch.autograd.grad(graphs[copy], levels[copy], dout, retain_graph=True)),
    }
    moved = (levels[0].numel() + dout.numel()) * levels[0].element_size()
    counted = operations(inputs["rois"][: CASES[bins]], bins)
    for name, (ours, peer) in works.items():
        mine, other = milliseconds(ours), milliseconds(peer)
        print(
            f"  {name:<9} {mine:.3f} ms, torchvision {other:.3f} ms: {other / mine:.2f} x; "
            f"{moved / mine / 1e6:.0f} GB/s, {counted / mine / 1e6:.0f} Gop/s"
        )
    return agree


def main() -> int:
    build = ["bash", str(ROOT / "scripts/build_custom.sh"), "cuda"]
    built = subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True).stdout  # cuda: built: PATH
    library = ctypes.CDLL(built.strip().rsplit(": ", 1)[1])
    return 0 if all([race(library, bins, kind) for bins in CASES for kind in TOLERANCES]) else 1


if __name__ == "__main__":
    sys.exit(main())
