"""The PyTorch peer of convolution.py: answers its commands. What is saved is computed in float64."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import conv2d, linear

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sides import serve


def main() -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with np.load(sys.argv[1]) as data:
        arrays = {key: torch.from_numpy(data[key]) for key in data.files}

    def forward(name: str, kind: torch.dtype = torch.float32, needs_gradient: bool = False) -> tuple:
        x, weight, dout = (arrays[f"{name} {part}"].to(kind) for part in ("x", "weight", "dout"))
        x, weight = (tensor.detach().requires_grad_(needs_gradient) for tensor in (x, weight))
        if weight.ndim == 2:
            out = linear(x, weight)
        else:
            out = conv2d(x, weight, stride=int(arrays[f"{name} stride"]), padding=weight.shape[2] // 2)
        return (out.detach(), *torch.autograd.grad(out, (x, weight), dout)) if needs_gradient else (out,)

    def save(name: str) -> dict:
        np.savez("peer.npz", *(result.numpy() for result in forward(name, torch.float64, True)))
        return {}

    def turn(name: str, needs_gradient: bool) -> dict:
        for _ in range(int(arrays[f"{name} inputs"])):
            forward(name, needs_gradient=needs_gradient)
        return {}

    serve({"forward": lambda name: turn(name, False), "gradient": lambda name: turn(name, True), "save": save})


if __name__ == "__main__":
    main()
