r"""NAS-FPN-RetinaNet at 640 pixels on the CPU: network, prediction, training step, against the same in PyTorch.

    python benchmarks/nas_fpn_speed.py --torch_python /path/to/a/python/with/torchvision --checkpoint nas_fpn.ckpt
    python export.py --config_path configs/nas_fpn/default_config.yaml --checkpoint_path nas_fpn.ckpt \
        --file_name nas_fpn --file_format ONNX
    python benchmarks/nas_fpn_speed.py --torch_python ... --checkpoint nas_fpn.ckpt --onnx nas_fpn.onnx

The peer is peers/torch_nas_fpn.py with torchvision's suppression; retinanet_race.py says what is measured and how. The
last command also times the exported file in ONNX Runtime. Exit code 1 when the two differ.
"""

import sys

from retinanet_race import ROOT, run

if __name__ == "__main__":
    config = ROOT / "configs/nas_fpn/default_config.yaml"
    sys.exit(run(__doc__, config, "torch_nas_fpn", batch_size=1, with_detections=True))
