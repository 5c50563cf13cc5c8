"""Whether an evaluation on a device gives the AP of the CPU: a small detector, trained there for two epochs.

python benchmarks/gpu/evaluation.py --device GPU --output_dir evaluation
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from cases import report

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs/demo/mask_rcnn.yaml"
TOLERANCE = 0.005  # of AP


def run(*command: object) -> None:
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("GPU", "CPU"), default="GPU")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=1000)
    args = parser.parse_args()
    data, folder = args.output_dir / "data", args.output_dir.resolve()
    sizes = ("--train", args.images, "--val", 100, "--image_size", 128, "--classes", 4)
    run("-m", "src.data.synthetic", "--output_dir", data, *sizes, "--overwrite", 1)
    sets = ("--train_dataset", data / "train", "--val_dataset", data / "validation")
    where = (
        "--train_outputs",
        folder,
        "--brief",
        "mask_rcnn",
        "--epoch_size",
        args.epochs,
        "--eval_every",
        args.epochs,
    )
    run("train.py", "--config_path", CONFIG, "--device_target", args.device, *sets, *where)
    found = {}
    for device in dict.fromkeys((args.device, "CPU")):
        checkpoint = folder / "mask_rcnn/checkpoints/last.ckpt"
        run("eval.py", "--config_path", folder / "mask_rcnn/config.yaml", "--checkpoint_path", checkpoint,
            "--device_target", device, "--val_dataset", data / "validation")  # fmt: skip
        metrics = checkpoint.with_name(f"{checkpoint.stem}_metrics.json")
        found[device] = json.loads(metrics.read_text(encoding="utf-8"))["stats"]
    report(
        **{f"{device}_{name}": round(found[device][name], 4) for device in found for name in ("bbox_mAP", "segm_mAP")}
    )
    for name in ("bbox_mAP", "segm_mAP"):
        values = [stats[name] for stats in found.values()]
        if max(values) - min(values) > TOLERANCE:
            raise SystemExit(f"{name} differs between devices: {values}")


if __name__ == "__main__":
    main()
