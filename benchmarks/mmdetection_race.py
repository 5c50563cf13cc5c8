"""The five detectors on the CPU beside mmdetection, or beside PyTorch where mmdetection has none of them.

    python benchmarks/mmdetection_race.py --peer_python /path/to/a/python/with/mmdet [--models mask_rcnn ...]

The peer's Python has mmdet 3.3.0, mmcv 2.1.0 with its operators and torch 2.4.1. NAS-FPN, Mask and Cascade R-CNN run
against mmdetection's own configurations: whole prediction, and training step. SpineNet-49 and RefineDet run against the
same networks in PyTorch (peers/torch_spinenet.py, torch_refinedet.py): network, and training step.

Both sides have the same weights, one image and eight objects, one update's losses and the detections are compared
first, and each lives in a process of its own. They take turns on the same cores, so that whatever else the machine does
weighs on both: a ratio is the median over the rounds of ours / the peer's. Seconds and CPU seconds are medians. Memory
is a process' peak once it has its network: `first` in the first calls, which compile or prepare, `steady` during the
rounds; our compiler works in a copy of the process, which is not counted. Nothing else should run meanwhile. `--json
FILE` keeps the figures. Exit code 1 when the two sides differ.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mask_rcnn_speed import make_inputs
from retinanet_race import equal_detections, largest_difference, save_detections
from sides import Side, race, serve

if TYPE_CHECKING:
    from src.engine.train_step import Updater

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

LEARNING_RATE = 1e-6  # of networks that were never trained: an update must not amplify rounding
LEAST_EQUAL = 0.9  # share of the peer's detections that ours must have
MMDETECTION, PYTORCH = "mmdetection", "PyTorch"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A detector and its peer.

    Attributes:
        config: our configuration.
        size: side of the input in pixels.
        peer: who it is.
        command: the peer's program below peers/ and its first arguments; weights, inputs and threads follow.
        forward: what is timed beside the training step.
        tolerance: largest relative difference of the sum of losses; large where both sides sample regions at random.
    """

    config: str
    size: int
    peer: str
    command: tuple[str, ...]
    forward: str
    tolerance: float = 1e-3


def _of_mmdetection(config: str, size: int, peer_config: str, tolerance: float = 1e-3) -> Entry:
    return Entry(config, size, MMDETECTION, ("mmdetection.py", peer_config), "predict", tolerance)


def _of_pytorch(config: str, size: int, *command: str) -> Entry:
    return Entry(config, size, PYTORCH, command, "network")


ENTRIES = {
    "nas_fpn": _of_mmdetection(
        "configs/nas_fpn/retinanet_r50_nasfpn_640_50e.yaml", 640, "nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco.py"
    ),
    "mask_rcnn": _of_mmdetection(
        "configs/instaboost/mask_rcnn_r50_fpn.yaml", 800, "instaboost/mask-rcnn_r50_fpn_instaboost-4x_coco.py", 0.2
    ),
    "cascade_mask_rcnn": _of_mmdetection(
        "configs/instaboost/cascade_mask_rcnn_r50_fpn.yaml",
        800,
        "instaboost/cascade-mask-rcnn_r50_fpn_instaboost-4x_coco.py",
        0.2,
    ),
    "spinenet": _of_pytorch(
        "configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml", 640, "torch_worker.py", "torch_spinenet"
    ),
    "refinedet": _of_pytorch("configs/refinedet/refinedet_vgg16_320.yaml", 320, "torch_refinedet.py"),
}


# --- our side -----------------------------------------------------------------------------------------------------


class OurSide:
    """The project's detector, in this process; leaves its weights and inputs in the folder for the peer."""

    def __init__(self, entry: Entry, folder: Path) -> None:
        import src  # noqa: F401  before mindspore
        import mindspore as ms  # isort: skip

        from src.config import load_config
        from src.model_utils.graph_cache import open_graph_cache
        from src.models import build_detector
        from src.models.prediction import Compiled
        from src.weights.convert import pytorch_names

        ms.set_device("CPU")
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_seed(1)
        sides = {"img_width": entry.size, "img_height": entry.size}
        graphs = {"compile_cache": str(folder / "graphs")}  # as the programs keep them, but none is there yet
        self.config = config = load_config(ROOT / entry.config, {"device_target": "CPU", **sides, **graphs})
        open_graph_cache(config, "CPU")
        self.net = build_detector(config)
        if entry.peer == MMDETECTION:
            load_seeded_weights(self.net, config)
        if entry.forward == "network":
            self.dense_outputs = Compiled(self.net.dense_outputs)
        np.savez(folder / "weights.npz", **pytorch_names({p.name: p.asnumpy() for p in self.net.get_parameters()}))
        inputs = make_inputs(entry.size, 1, 8)
        inputs["image"] /= inputs["image"].std()
        settings = {"lr": LEARNING_RATE, "weight_decay": config.weight_decay, "grad_clip": config.grad_clip}
        if hasattr(self.net, "targets") and hasattr(self.net.targets, "anchors"):
            settings["anchors"] = self.net.targets.anchors.asnumpy()
        np.savez(folder / "inputs.npz", **inputs, **settings)
        del inputs["bitmaps"]  # the loader hands over canvases
        if config.mask_options is None:
            del inputs["masks"]
        self.batch, self.image, self.info = inputs, ms.Tensor(inputs["image"]), inputs["image_info"]

    @cached_property
    def updater(self) -> "Updater":
        """With the optimizer, whose state PyTorch's makes at the first update, too."""
        from src.engine.optimizer import build_optimizer
        from src.engine.train_step import Updater

        optimizer = build_optimizer(self.config, self.net.trainable_params())
        return Updater(self.net, optimizer, grad_clip=self.config.grad_clip)

    def network(self, save_to: str | None) -> dict:
        """Raw outputs of the image, to host arrays."""
        self.net.set_train(False)
        outputs = [y.asnumpy() for x in self.dense_outputs(self.image) for y in (x if isinstance(x, tuple) else (x,))]
        if save_to:
            np.savez(save_to, *outputs)
        return {}

    def predict(self, save_to: str | None) -> dict:
        """Detections of the image."""
        self.net.set_train(False)
        return save_detections(self.net.predict(self.image, self.info), save_to)

    def train(self, _: str | None) -> dict:
        """One update."""
        self.net.set_train(True)
        values = self.updater([self.batch], LEARNING_RATE).asnumpy().tolist()
        return {"losses": dict(zip(self.net.loss_names, values, strict=True))}


def load_seeded_weights(net, config) -> None:
    """Weights by which a network that was never trained has spread scores (tests/oracles/seeded_weights.py)."""
    from src.weights.checkpoint import load_weights
    from src.weights.convert import convert_weights, pytorch_names
    from tests.oracles.seeded_weights import seeded_state

    shapes = pytorch_names({p.name: p.shape for p in net.get_parameters()})
    load_weights(net, convert_weights(seeded_state(shapes, 3), config))


# --- the driver ---------------------------------------------------------------------------------------------------


def compare_forward(entry: Entry, sides: list[Side], folder: Path) -> tuple[bool, list[float]]:
    """Whether both predict the same, and the seconds of these first calls."""
    files = folder / "ours.npz", folder / "peer.npz"
    answers = [side.ask(f"{entry.forward} {file}") for side, file in zip(sides, files, strict=True)]
    if entry.forward == "predict":
        share = equal_detections(*files)
        counts = [answer["detections"] for answer in answers]
        print(f"  detections: {counts[0]}, {entry.peer} {counts[1]}; {share:.0%} of its are among ours")
        equal = share >= LEAST_EQUAL
    else:
        difference = largest_difference(*files)
        print(f"  outputs differ by {difference:.1e} of the largest")
        equal = difference < 1e-3
    return equal, [answer["seconds"] for answer in answers]


def compare_losses(entry: Entry, sides: list[Side]) -> tuple[bool, list[float]]:
    """Whether both have the same losses, and the seconds of these first updates."""
    answers = [side.ask("train") for side in sides]
    for name, answer in zip(("ours", entry.peer), answers, strict=True):
        print(f"  losses, {name}: " + ", ".join(f"{key} {value:.4f}" for key, value in answer["losses"].items()))
    sums = [sum(answer["losses"].values()) for answer in answers]
    return abs(sums[0] / sums[1] - 1) < entry.tolerance, [answer["seconds"] for answer in answers]


def peak_mb(side: Side) -> float:
    """The most memory that a side's process has held since `reset_peak`."""
    status = Path(f"/proc/{side.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def reset_peak(side: Side) -> None:
    """Let `peak_mb` begin anew."""
    Path(f"/proc/{side.process.pid}/clear_refs").write_text("5")


def measure(name: str, command: str, arguments: argparse.Namespace, folder: Path) -> tuple[bool, dict]:
    """One detector's `command` against its peer: whether both compute the same, and the figures."""
    entry = ENTRIES[name]
    ours = Side(sys.executable, __file__, "--serve", folder, "--models", name)
    ours.answer()
    program, *first = entry.command
    worker = (arguments.peer_python, ROOT / "benchmarks/peers" / program, *first)
    peer = Side(*worker, folder / "weights.npz", folder / "inputs.npz", arguments.threads)
    peer.answer()
    sides = [ours, peer]
    for side in sides:
        reset_peak(side)  # what made the seeded weights is not counted
    equal, first_seconds = compare_losses(entry, sides) if command == "train" else compare_forward(entry, sides, folder)
    first_mb = [peak_mb(side) for side in sides]
    race(command, sides, 1)  # second calls still prepare
    for side in sides:
        reset_peak(side)
    seconds, cpu = race(command, sides, arguments.rounds)
    figures = {
        "model": name,
        "work": command,
        "peer": entry.peer,
        "seconds": np.median(seconds, axis=0).tolist(),
        "ratio": float(np.median(seconds[:, 0] / seconds[:, 1])),
        "cpu_ratio": float(np.median(cpu[:, 0] / cpu[:, 1])),
        "first_seconds": first_seconds,
        "first_mb": first_mb,
        "steady_mb": [peak_mb(side) for side in sides],
    }
    for side in sides:
        side.close()
    return equal, figures


def report(rows: list[dict]) -> None:
    """A table, a line for each piece of work; `ours / the peer's`."""
    heads = ("s", 15), ("ratio", 7), ("of CPU time", 13), ("first call s", 15), ("first MB", 15), ("steady MB", 15)
    print(f"\n{'model':<19}{'work':<9}" + "".join(f"{title:>{width}}" for title, width in heads))
    for row in rows:
        pairs = [
            " / ".join(f"{value:.{digits}f}" for value in row[key])
            for key, digits in (("seconds", 2), ("first_seconds", 1), ("first_mb", 0), ("steady_mb", 0))
        ]
        print(
            f"{row['model']:<19}{row['work']:<9}{pairs[0]:>15}{row['ratio']:>7.2f}{row['cpu_ratio']:>13.2f}"
            f"{pairs[1]:>15}{pairs[2]:>15}{pairs[3]:>15}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer_python", help="a Python that has mmdet, mmcv with its operators, and torch")
    parser.add_argument("--models", nargs="+", default=list(ENTRIES), choices=list(ENTRIES), help="which (all)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (7)")
    parser.add_argument("--threads", type=int, default=2, help="cores that both may use (2)")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        side = OurSide(ENTRIES[arguments.models[0]], Path(arguments.serve))
        serve({"network": side.network, "predict": side.predict, "train": side.train})
        return 0
    if not arguments.peer_python:
        parser.error("--peer_python is needed: a Python that has mmdet, mmcv with its operators, and torch")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # the processes below inherit it
    rows, differing = [], []
    for name in arguments.models:
        print(f"{name} at {ENTRIES[name].size} pixels against {ENTRIES[name].peer}", flush=True)
        for command in (ENTRIES[name].forward, "train"):
            with tempfile.TemporaryDirectory() as folder:
                equal, figures = measure(name, command, arguments, Path(folder))
            rows.append(figures)
            differing += [] if equal else [f"{name} ({command})"]
            report(rows[-1:])
    report(rows)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")
    if differing:
        print(f"both sides differ: {', '.join(differing)}", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
