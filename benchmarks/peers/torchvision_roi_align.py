"""The torchvision peer of roi_align.py: reads one command per line, answers one JSON per line after '@'.

What is saved to a file is computed in float64.
"""

import json
import sys
import time

import numpy as np
import torch
from torchvision.ops import roi_align


def main() -> None:
    inputs, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    with np.load(inputs) as data:
        features, rois = torch.from_numpy(data["features"]), torch.from_numpy(data["rois"])
        dout = {int(key[4:]): torch.from_numpy(data[key]) for key in data.files if key.startswith("dout")}

    def forward(bins: int, kind: torch.dtype = torch.float32, needs_gradient: bool = False) -> torch.Tensor:
        chosen = rois[: len(dout[bins])].to(kind)
        level = features.to(kind).detach().requires_grad_(needs_gradient)
        pooled = roi_align(level, chosen, bins, spatial_scale=0.25, sampling_ratio=0, aligned=True)
        return torch.autograd.grad(pooled, level, dout[bins].to(kind))[0] if needs_gradient else pooled

    def gradient(bins: int, kind: torch.dtype = torch.float32) -> torch.Tensor:
        return forward(bins, kind, needs_gradient=True)

    print("@{}", flush=True)
    for line in sys.stdin:
        command, bins, *save_to = line.split()
        start, start_cpu = time.perf_counter(), time.process_time()
        work = {"forward": forward, "gradient": gradient}[command]
        result = work(int(bins), torch.float64) if save_to else work(int(bins))
        spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - start_cpu}
        if save_to:
            np.save(save_to[0], result.numpy())
        print("@" + json.dumps(spent), flush=True)


if __name__ == "__main__":
    main()
