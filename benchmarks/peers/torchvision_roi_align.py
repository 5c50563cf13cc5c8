"""The torchvision peer of roi_align.py: reads one command a line, answers one JSON a line after '@'."""

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

    def pool(bins: int) -> torch.Tensor:
        count = len(dout[bins])
        return roi_align(features, rois[:count], bins, spatial_scale=0.25, sampling_ratio=0, aligned=True)

    def forward(bins: int) -> torch.Tensor:
        features.requires_grad_(False)
        return pool(bins)

    def gradient(bins: int) -> torch.Tensor:
        features.requires_grad_(True)
        return torch.autograd.grad(pool(bins), features, dout[bins])[0]

    print("@{}", flush=True)
    for line in sys.stdin:
        command, bins, *save_to = line.split()
        start, start_cpu = time.perf_counter(), time.process_time()
        result = {"forward": forward, "gradient": gradient}[command](int(bins))
        spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - start_cpu}
        if save_to:
            np.save(save_to[0], result.numpy())
        print("@" + json.dumps(spent), flush=True)


if __name__ == "__main__":
    main()
