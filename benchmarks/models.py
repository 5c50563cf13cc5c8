"""Seconds of one prediction on the CPU of every published configuration: MindSpore, ONNX Runtime and OpenVINO.

    python benchmarks/models.py
    python benchmarks/models.py --onnx 0 configs/refinedet/refinedet_vgg16_320.yaml

Each configuration's network, with random weights, is exported to ONNX; the checkpoint and the file, in each runtime
that is installed, then detect objects in the same image of noise of the configuration's size, taking turns in processes
of their own. A prediction goes from the prepared image to boxes, scores, labels and (28 x 28) masks. Medians of the
rounds after a first call of each; memory is the highest of each process.
"""

import argparse
import os
import resource
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sides import Side, export_onnx, race, serve

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CONFIGS = [
    *(f"spinenet_retinanet/retinanet_spinenet_{n}" for n in ("49s_640", "49_640", "96_1024", "143_1280", "190_1280")),
    *(f"instaboost/mask_rcnn_{n}_fpn" for n in ("r50", "r101", "x_101_64x4d")),
    "instaboost/cascade_mask_rcnn_r50_fpn",
    "nas_fpn/retinanet_r50_nasfpn_640",
    *(f"refinedet/refinedet_{n}" for n in ("vgg16_320", "vgg16_512", "resnet101_320", "resnet101_512")),
]


def serve_detector(config_path: str, weights: str, runtime: str) -> None:
    """Answer `predict` with a detector: an exported file, or a new network whose weights are saved first."""
    import src  # noqa: F401  before mindspore
    from src.config import load_config
    from src.deploy.exported_model import ExportedDetector
    from src.models import build_detector
    from src.weights.checkpoint import save_weights

    config = load_config(config_path, {"device_target": "CPU"})
    if runtime != "mindspore":
        detector = ExportedDetector(weights, config, runtime)
    else:
        import mindspore as ms

        ms.set_device("CPU")
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_seed(1)
        detector = build_detector(config).set_train(False)
        save_weights(weights, {p.name: p.asnumpy() for p in detector.get_parameters()})
    height, width = config.input_hw
    image = np.random.default_rng(1).standard_normal((1, 3, height, width), np.float32)
    info = np.float32([[height, width, height, width, 1, 1]])

    def predict(_: str | None) -> dict:
        found = detector.predict(image, info)
        return {"detections": int(found.valid.sum())}

    def memory(_: str | None) -> dict:
        return {"gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}

    serve({"predict": predict, "memory": memory})


def measure(config: Path, folder: Path, rounds: int, runtimes: list[str]) -> str:
    """One line of the table."""
    weights = folder / "exported.ckpt"
    sides = [Side(sys.executable, __file__, "--serve", config, weights, "mindspore")]
    sides[0].answer()
    if runtimes:
        file = export_onnx(config, weights)
        sides += [Side(sys.executable, __file__, "--serve", config, file, runtime) for runtime in runtimes]
    for side in sides[1:]:
        side.answer()
    for side in sides:
        side.ask("predict")
    seconds = np.median(race("predict", sides, rounds)[0], axis=0)
    cells = [f"{t:.2f} s, {side.ask('memory')['gigabytes']:.1f} GB" for t, side in zip(seconds, sides, strict=True)]
    for side in sides:
        side.close()
    return f"| `{config.stem}` | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", type=Path, help="configurations (all published ones)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (5)")
    parser.add_argument("--threads", type=int, default=2, help="cores that may be used (2)")
    parser.add_argument("--onnx", type=int, default=1, choices=(0, 1), help="0: MindSpore alone (1)")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_detector(*arguments.serve)
        return
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # the processes below inherit it
    runtimes = [name for name in ("onnxruntime", "openvino") if arguments.onnx and find_spec(name)]
    print(f"| {' | '.join(['configuration', 'mindspore', *runtimes])} |\n|---|---|{'---|' * len(runtimes)}", flush=True)
    for config in arguments.configs or [ROOT / f"configs/{name}.yaml" for name in CONFIGS]:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(config.resolve(), Path(folder), arguments.rounds, runtimes), flush=True)


if __name__ == "__main__":
    main()
