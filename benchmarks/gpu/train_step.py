"""Time training steps of a detector of this project on one device; run_all.sh runs it.

python benchmarks/gpu/train_step.py --detector nas_fpn --amp_level O2
python benchmarks/gpu/train_step.py --detector nas_fpn --device CPU --size 128 --batch 1 --rounds 1
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from cases import DETECTORS, ROUNDS, time_steps

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from random_batch import NUM_GTS, make_batch  # noqa: E402  found by the line above


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", choices=DETECTORS, required=True)
    parser.add_argument("--device", choices=("GPU", "CPU"), default="GPU")
    parser.add_argument("--amp_level", choices=("O0", "O1", "O2", "O3", "auto"), default="O0")
    parser.add_argument("--loss_scale", default="dynamic", help="of levels other than O0")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=0, help="side of the images; 0: the configuration's")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()

    import src  # noqa: F401  before mindspore
    import mindspore as ms  # isort: skip

    from src.config import load_config
    from src.engine.loss_scale import build_loss_scale
    from src.engine.optimizer import build_optimizer
    from src.engine.train_step import Updater
    from src.models import build_detector
    from src.ops.precision import set_precision

    path, size = DETECTORS[args.detector]
    size = args.size or size
    scale = "1" if args.amp_level == "O0" else args.loss_scale
    overrides = {
        "device_target": args.device, "img_width": size, "img_height": size, "num_gts": NUM_GTS, "loss_scale": scale,
        "amp_level": args.amp_level, "batch_size": args.batch,
    }  # fmt: skip
    if args.detector == "nas_fpn":
        overrides["num_retinanet_boxes"] = 0  # that of its own size, which may be another here
    config = load_config(ROOT / "configs" / path, overrides)
    ms.set_device(args.device)
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_seed(1)  # the same weights on every device
    net = build_detector(config)
    set_precision(net, config.amp_level, config.amp_dtype)
    net.set_train(True)
    updater = Updater(net, build_optimizer(config, net.trainable_params()), build_loss_scale(config), config.grad_clip)
    batch = make_batch(size, args.batch)
    if "mask" in args.detector:
        batch["masks"] = np.ones((args.batch, NUM_GTS, config.mask_crop_size, config.mask_crop_size), np.uint8)
    steps = iter(range(args.rounds + 1))
    time_steps(lambda: float(updater([batch], 1e-5, next(steps)).asnumpy().sum()), args.rounds)


if __name__ == "__main__":
    main()
