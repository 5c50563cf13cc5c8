"""SpineNet-49-RetinaNet at 640 pixels on the CPU: network and training step, against the same network in PyTorch.

    python benchmarks/spinenet_speed.py --torch_python /path/to/a/python/with/torch

The peer is peers/torch_spinenet.py; retinanet_race.py says what is measured and how. Then post-processing is measured
against the network, and MindSpore's profiler says where the time goes. Exit code 1 when the two differ.
"""

import sys

from retinanet_race import ROOT, run

if __name__ == "__main__":
    config = ROOT / "configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml"
    sys.exit(run(__doc__, config, "torch_spinenet", batch_size=2))
