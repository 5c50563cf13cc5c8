"""RefineDet at 320 pixels on the CPU: network and detection step, against the same in PyTorch.

    python benchmarks/refinedet_speed.py --torch_python /path/to/a/python/with/torch

The peer (peers/torch_refinedet.py) has the same weights and sees the same image; outputs and detections are compared
first. Both live in processes of their own that take turns, on the same cores; the ratio is the median over the rounds
of ours / PyTorch's. The detection step goes from raw outputs to detections: `typical` are those of a trained network,
`crowded` random ones, of which nearly every box passes the threshold for some class. PyTorch's suppression is a loop of
its operators, as in the public port, and torchvision's operator. ONNX Runtime's network decodes boxes and scores too.
Exit code 1 when the two differ.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from retinanet_race import OnnxSide
from sides import (
    PEERS,
    Side,
    export_onnx,
    operator_times,
    print_race_header,
    race,
    report_operators,
    report_race,
    serve,
)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CONFIG = ROOT / "configs/refinedet/refinedet_vgg16_320.yaml"
NAMES = ("arm_loc", "arm_conf", "odm_loc", "odm_conf")
KINDS = ("typical", "crowded")


def raw_outputs(kind: str, anchors: np.ndarray, classes: int) -> list[np.ndarray]:
    """Raw outputs of one image: `typical` has 25 objects, each found by the anchors around it."""
    rng = np.random.default_rng(2)
    shape = (1, len(anchors))
    loc = [rng.normal(0, 0.5, (*shape, 4)).astype(np.float32) for _ in range(2)]
    if kind == "crowded":
        arm_conf = rng.normal(0, 1.5, (*shape, 2)).astype(np.float32)
        return [loc[0], arm_conf, loc[1], rng.normal(0, 1.5, (*shape, classes + 1)).astype(np.float32)]
    arm_conf = np.stack([rng.normal(3, 1, shape), rng.normal(-3, 1, shape)], -1).astype(np.float32)
    odm_conf = rng.normal(-4, 1, (*shape, classes + 1)).astype(np.float32)
    odm_conf[..., 0] += 8
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    for anchor in rng.choice(len(anchors), 25, replace=False):
        near = np.linalg.norm(centres - centres[anchor], axis=1) < (anchors[anchor, 2] - anchors[anchor, 0]) / 2
        arm_conf[0, near, 1] += 6
        odm_conf[0, near, rng.integers(1, classes + 1)] += rng.uniform(4, 10, near.sum())
    return [loc[0], arm_conf, loc[1], odm_conf]


# --- our side -----------------------------------------------------------------------------------------------------


class OurSide:
    """The project's detector, in this process."""

    def __init__(self, folder: Path, size: int) -> None:
        import src  # noqa: F401  before mindspore
        import mindspore as ms  # isort: skip

        from src.config import load_config
        from src.models import build_detector
        from src.models.prediction import Compiled
        from src.weights.checkpoint import save_weights
        from src.weights.convert import pytorch_names

        ms.set_device("CPU")
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_seed(1)
        config = load_config(CONFIG, {"device_target": "CPU", "img_width": size, "img_height": size})
        self.net = build_detector(config).set_train(False)
        self.folder, self.tensor = folder, ms.Tensor
        self.dense_outputs = Compiled(self.net.dense_outputs)
        self.decode = Compiled(self.net.decode)
        anchors = self.net.targets.anchors.asnumpy()
        self.raw = {kind: raw_outputs(kind, anchors, config.num_classes - 1) for kind in KINDS}
        self.image = np.random.default_rng(1).standard_normal((1, 3, size, size), np.float32)
        self.info = np.float32([[size, size, size, size, 1, 1]])
        weights = {p.name: p.asnumpy() for p in self.net.get_parameters()}
        np.savez(folder / "weights.npz", **pytorch_names(weights))
        save_weights(folder / "weights.ckpt", weights)
        raw = {f"{kind}_{name}": x for kind in KINDS for name, x in zip(NAMES, self.raw[kind], strict=True)}
        np.savez(folder / "inputs.npz", image=self.image, image_info=self.info, anchors=anchors, **raw)

    def network(self, save_to: str | None) -> dict:
        """Raw outputs of one image, to host arrays."""
        outputs = [x.asnumpy() for x in self.dense_outputs(self.tensor(self.image))]
        if save_to:
            np.savez(save_to, *outputs)
        return {}

    def predict(self, _: str | None) -> dict:
        """Image to detections."""
        return {"detections": int(self.net.predict(self.image, self.info).valid.sum())}

    def select(self, kind: str | None) -> dict:
        """Raw outputs to detections."""
        return {"detections": int(self._select(str(kind))[3].sum())}

    def save(self, kind: str | None) -> dict:
        """`select`, and a file of its rows."""
        boxes, scores, labels, valid = self._select(str(kind))
        rows = np.concatenate([labels[..., None], scores[..., None], boxes], 2)[valid]
        np.savez(self.folder / f"ours_{kind}.npz", rows)
        return {"detections": len(rows)}

    def _select(self, kind: str):
        boxes, scores = self.decode(*(self.tensor(x) for x in self.raw[kind]))
        return self.net.post_processor(boxes.asnumpy(), scores.asnumpy(), self.info)

    def profile(self, _: str | None) -> dict:
        """Milliseconds by operator type of one `network`, by MindSpore's profiler."""
        return operator_times(lambda: self.network(None))


# --- the driver ---------------------------------------------------------------------------------------------------


def same_detections(ours: np.ndarray, theirs: np.ndarray, size: int) -> float:
    """Share of their rows (label, score, box) that ours have too."""
    theirs = np.concatenate([theirs[:, :2], np.clip(theirs[:, 2:], 0, size)], 1)
    found = 0
    for row in theirs:
        alike = (ours[:, 0] == row[0]) & (np.abs(ours[:, 1] - row[1]) < 1e-3)
        found += bool((np.abs(ours[alike, 2:] - row[2:]).max(axis=1) < 0.1).any()) if alike.any() else 0
    return found / max(len(theirs), 1)


def compare(ours: Side, peer: Side, folder: Path, size: int) -> bool:
    """Whether both compute the same: raw outputs and detections."""
    ours.ask(f"network {folder}/ours.npz")
    peer.ask(f"network {folder}/peer.npz")
    with np.load(folder / "ours.npz") as a, np.load(folder / "peer.npz") as b:
        difference = max(float(np.abs(a[k] - b[k]).max() / np.abs(b[k]).max()) for k in a.files)
    print(f"outputs differ by {difference:.1e} of the largest")
    equal = difference < 1e-3
    for kind in KINDS:
        counts = [side.ask(f"save {kind}")["detections"] for side in (ours, peer)]
        with np.load(folder / f"ours_{kind}.npz") as a, np.load(folder / f"peer_{kind}.npz") as b:
            share = same_detections(a["arr_0"], b["arr_0"], size)
        print(f"{kind}: {counts[0]} detections, PyTorch {counts[1]}, {100 * share:.1f} % of them found")
        equal &= share > 0.98
    return equal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", help="a Python that has torch and numpy (torchvision too, if it is at hand)")
    parser.add_argument("--size", type=int, default=320, help="image side in pixels, a multiple of 64 (320)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (7)")
    parser.add_argument("--threads", type=int, default=2, help="cores that both may use (2)")
    parser.add_argument("--profile", type=int, default=1, choices=(0, 1), help="1: also say where the time goes (1)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--onnx", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve and arguments.onnx:
        side = OnnxSide(CONFIG, Path(arguments.serve), arguments.size, arguments.onnx)
        serve({name: getattr(side, name) for name in ("network", "predict")})
        return 0
    if arguments.serve:
        side = OurSide(Path(arguments.serve), arguments.size)
        serve({name: getattr(side, name) for name in ("network", "predict", "select", "save", "profile")})
        return 0
    if not arguments.torch_python:
        parser.error("--torch_python is needed: a Python that has torch and numpy")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # the processes below inherit it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = (sys.executable, __file__, "--serve", folder, "--size", arguments.size)
        ours = Side(*script)
        ours.answer()
        sides = ("--img_width", arguments.size, "--img_height", arguments.size)
        onnx = Side(*script, "--onnx", export_onnx(CONFIG, folder / "weights.ckpt", *sides))
        onnx.answer()
        worker = ROOT / "benchmarks/peers/torch_refinedet.py"
        command = (arguments.torch_python, worker, folder / "weights.npz", folder / "inputs.npz", arguments.threads)
        peers = [Side(*command, **environment) for environment in PEERS.values()]
        for peer in peers:
            peer.answer()
        equal = compare(ours, peers[0], folder, arguments.size)
        peers[1].ask("network")  # PyTorch prepares itself at the first calls too
        print_race_header(24)
        report_race("network, batch 1", race("network", [ours, *peers], arguments.rounds), PEERS, 24)
        onnx.ask("network")
        report_race("ONNX Runtime, network", race("network", [onnx, *peers], arguments.rounds), PEERS, 24)
        for kind in KINDS:
            times = race(f"select {kind}", [ours, peers[0]], arguments.rounds)
            report_race(f"detection, {kind}", times, {"PyTorch, loop": {}}, 24)
            if "missing" not in peers[0].ask(f"select_by_operator {kind}"):
                theirs = race(f"select_by_operator {kind}", [peers[0]], arguments.rounds)
                times = np.concatenate([times[..., :1], theirs], 2)
                report_race(f"detection, {kind}", times, {"PyTorch, torchvision": {}}, 24)
        answers = [ours.ask("predict")["seconds"] for _ in range(arguments.rounds + 1)][1:]
        print(f"image to detections: {np.median(answers):.3f} s")
        if arguments.profile:
            report_operators("network", ours.ask("profile"))
        for side in (ours, onnx, *peers):
            side.close()
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
