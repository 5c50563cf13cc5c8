"""Seconds from the start of train.py and infer.py to their first result, without and with kept graphs.

    python benchmarks/starts.py [CONFIG ...]

Every configuration trains two steps of one image of noise and finds objects in such an image, in programs of their own,
as a user starts them: `cold` with an empty folder of compiled graphs, `second` with what the
first left there, `resumed` a training that goes on from the first one's checkpoint. A training's seconds are those to
its first logged step, inference's those of the whole program. Mask models at 800 pixels, as their figures elsewhere.
Nothing else should run meanwhile.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src.config import load_config  # noqa: E402  after the path

CONFIGS = {
    "nas_fpn/retinanet_r50_nasfpn_640_50e": (),
    "instaboost/mask_rcnn_r50_fpn": ("--img_width", "800", "--img_height", "800"),
    "instaboost/cascade_mask_rcnn_r50_fpn": ("--img_width", "800", "--img_height", "800"),
    "spinenet_retinanet/retinanet_spinenet_49_640": (),
    "refinedet/refinedet_vgg16_320": (),
}
STEPS = 2
LOGGED_STEP = re.compile(r"\bstep: \d+.*\bloss|\blr: .*\bloss")  # the two formats of log lines


def write_data(folder: Path, classes: list[str], ids: list[int]) -> None:
    """A COCO data set of as many pictures of noise as steps, each with an object that has a polygon."""
    import cv2

    (folder / "data").mkdir()
    rng = np.random.default_rng(1)
    images, objects = [], []
    for number in range(1, STEPS + 1):
        name = f"{number}.jpg"
        cv2.imwrite(str(folder / "data" / name), rng.integers(0, 255, (480, 640, 3), np.uint8))
        images.append({"id": number, "file_name": name, "width": 640, "height": 480})
        polygon = [100.0, 100.0, 300.0, 100.0, 300.0, 400.0, 100.0, 400.0]
        area = {"bbox": [100.0, 100.0, 200.0, 300.0], "area": 60000.0, "segmentation": [polygon], "iscrowd": 0}
        objects.append({"id": number, "image_id": number, "category_id": 1, **area})
    categories = [{"id": number, "name": name} for number, name in zip(ids, classes, strict=True)]
    data = {"images": images, "annotations": objects, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(data))


def write_weights(config_path: Path, target: Path) -> None:
    """A new network's weights, by a process of its own."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[3]); import src\n"
        "from src.config import load_config; from src.models import build_detector\n"
        "from src.weights.checkpoint import save_weights\n"
        "net = build_detector(load_config(sys.argv[1], {'device_target': 'CPU'}))\n"
        "save_weights(sys.argv[2], {p.name: p.asnumpy() for p in net.get_parameters()})\n"
    )
    subprocess.run([sys.executable, "-c", program, str(config_path), str(target), str(ROOT)], check=True)


def first_step(command: list[str]) -> float:
    """Seconds until a training logs its first step; it then ends by itself."""
    start, found, lines = time.perf_counter(), None, []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        lines.append(line)
        if found is None and LOGGED_STEP.search(line):
            found = time.perf_counter() - start
    if process.wait() or found is None:
        raise SystemExit("".join(lines[-5:]))
    return found


def whole(command: list[str]) -> float:
    """Seconds of a program."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-500:])
    return time.perf_counter() - start


def measure(name: str, overrides: tuple[str, ...], folder: Path) -> list[float]:
    """Cold, second and resumed training; cold and second inference."""
    config, weights = ROOT / "configs" / f"{name}.yaml", folder / "weights.ckpt"
    values = load_config(config)
    classes = values.coco_classes[1:]  # without the background
    write_data(folder, classes, values.category_ids or list(range(1, len(classes) + 1)))
    write_weights(config, weights)
    shared = ["--config_path", str(config), *overrides, "--device_target", "CPU"]
    shared += ["--compile_cache", str(folder / "graphs")]
    data = ["--train_dataset", str(folder), "--batch_size", "1"]
    train = [sys.executable, str(ROOT / "train.py"), *shared, *data, "--log_every", "1", "--lr", "1e-6"]
    train += ["--min_lr", "0", "--warmup_step", "0", "--run_eval", "0", "--pre_trained", str(weights)]
    runs = [
        first_step([*train, "--epoch_size", "1", "--train_outputs", str(folder / "a")]),
        first_step([*train, "--epoch_size", "1", "--train_outputs", str(folder / "b")]),
        first_step([*train, "--epoch_size", "2", "--train_outputs", str(folder / "b"), "--resume", "1"]),
    ]
    infer = [sys.executable, str(ROOT / "infer.py"), *shared, "--checkpoint_path", str(weights)]
    infer += ["--pred_input", str(folder / "data/1.jpg")]
    return [*runs, *(whole([*infer, "--pred_output", str(folder / f"found{i}.json")]) for i in range(2))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", default=list(CONFIGS), help="names below configs/, without .yaml")
    parser.add_argument("--threads", type=int, default=2, help="cores that may be used (2)")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # the processes below inherit it
    print(
        "| configuration | first step, cold | second | resumed | infer.py, cold | second |\n|---|---|---|---|---|---|"
    )
    for name in arguments.configs:
        with tempfile.TemporaryDirectory() as folder:
            seconds = measure(name, CONFIGS.get(name, ()), Path(folder))
        print(f"| `{name}` | " + " | ".join(f"{value:.1f}" for value in seconds) + " |", flush=True)


if __name__ == "__main__":
    main()
