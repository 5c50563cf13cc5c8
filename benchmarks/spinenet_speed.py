"""SpineNet-49-RetinaNet at 640 pixels on the CPU: prediction and training step, against the same network in PyTorch.

    python benchmarks/spinenet_speed.py --torch_python /path/to/a/python/with/torch

The peer (peers/torch_retinanet.py) starts from the same weights and sees the same images and objects; outputs and
losses are compared first. Both live in processes of their own that take turns, on the same cores, so that whatever
else the machine does weighs on both; the ratio is the median over the rounds of ours / PyTorch's. Then post-processing
is measured against the network, and MindSpore's profiler says where the time goes. Exit code 1 when the two differ.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sides import PEERS, Side, operator_times, print_race_header, race, report_operators, report_race, serve

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CONFIG = ROOT / "configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml"
OBJECTS_AN_IMAGE = 8  # COCO has 7.3
NUM_GTS = 100
# Small, because fp32 gradients of a new network carry noise of some percent: one update must not amplify it.
LEARNING_RATE = 0.0001


def make_inputs(size: int, batch: int) -> dict[str, np.ndarray]:
    """A batch of noise with random objects, as the loader would make it."""
    rng = np.random.default_rng(1)
    boxes = np.zeros((batch, NUM_GTS, 4), np.float32)
    corner = rng.uniform(0, 0.6 * size, (batch, OBJECTS_AN_IMAGE, 2))
    side = np.exp(rng.uniform(np.log(16), np.log(0.4 * size), (batch, OBJECTS_AN_IMAGE, 2)))
    boxes[:, :OBJECTS_AN_IMAGE] = np.concatenate([corner, corner + side], 2)
    labels = np.zeros((batch, NUM_GTS), np.int32)
    labels[:, :OBJECTS_AN_IMAGE] = rng.integers(0, 80, (batch, OBJECTS_AN_IMAGE))
    valid = np.arange(NUM_GTS)[None].repeat(batch, 0) < OBJECTS_AN_IMAGE
    return {
        "image": rng.standard_normal((batch, 3, size, size), np.float32),
        "image_info": np.tile(np.float32([size, size, size, size, 1, 1]), (batch, 1)),
        "boxes": boxes,
        "labels": labels,
        "valid": valid,
    }


# --- our side -----------------------------------------------------------------------------------------------------


class OurSide:
    """The project's detector, in this process."""

    def __init__(self, folder: Path, size: int) -> None:
        import src  # noqa: F401  before mindspore
        import mindspore as ms  # isort: skip

        from src.blocks.detectors import build_detector
        from src.engine.optimizer import build_optimizer
        from src.engine.train_step import Updater
        from src.model_utils.config import load_config

        ms.set_device("CPU")
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_seed(1)
        overrides = {"device_target": "CPU", "img_width": size, "img_height": size, "lr": LEARNING_RATE}
        config = load_config(CONFIG, overrides)
        self.net = build_detector(config)
        self.inputs = dict(np.load(folder / "inputs.npz"))
        np.savez(folder / "weights.npz", **{p.name: p.asnumpy() for p in self.net.get_parameters()})
        optimizer = build_optimizer(config, self.net.trainable_params())
        self.updater = Updater(self.net, optimizer)
        self.rate = config.lr
        self.image = ms.Tensor(self.inputs["image"][:1])

    def predict(self, save_to: str | None) -> dict:
        """The network on one image, without post-processing, to host arrays."""
        self.net.set_train(False)
        outputs = [x.asnumpy() for level in self.net.raw_head[0](self.image) for x in level]
        if save_to:
            np.savez(save_to, *outputs)
        return {}

    def train(self, _: str | None) -> dict:
        """One update."""
        self.net.set_train(True)
        return {"losses": self.updater([self.inputs], self.rate).asnumpy().tolist()}

    def post_process(self, kind: str | None) -> dict:
        """Selection and suppression for one image; `crowded`: every level has more candidates than nms_pre."""
        logits, deltas = raw_outputs(self.inputs["image"].shape[-1], crowded=kind == "crowded")
        start = time.perf_counter()
        found = self.net.post_processor(logits, deltas, self.inputs["image_info"][:1])
        seconds = time.perf_counter() - start
        passed = sum(int((level > np.log(0.05 / 0.95)).sum()) for level in logits)
        return {"seconds": seconds, "candidates": passed, "detections": int(found[3].sum())}

    def profile(self, command: str | None) -> dict:
        """Milliseconds by operator type of one `predict` or `train`, by MindSpore's profiler."""
        return operator_times(lambda: getattr(self, str(command))(None))


def raw_outputs(size: int, crowded: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Logits and deltas like a trained network's: nearly all far under the threshold, some objects over it."""
    rng = np.random.default_rng(2)
    logits, deltas = [], []
    for stride in (8, 16, 32, 64, 128):
        cells = size // stride
        level = rng.normal(-7.0, 1.0, (1, 720, cells, cells)).astype(np.float32)
        flat = level.reshape(-1)
        count = min(4000 if crowded else 250, flat.size // 10)
        flat[rng.choice(flat.size, count, replace=False)] = rng.normal(-1.5, 1.0, count)
        logits.append(level)
        deltas.append(rng.normal(0, 0.3, (1, 36, cells, cells)).astype(np.float32))
    return logits, deltas


# --- the driver ---------------------------------------------------------------------------------------------------


def largest_difference(first: Path, second: Path) -> float:
    """Of two saved outputs, relative to the largest value of each array."""
    with np.load(first) as a, np.load(second) as b:
        return max(float(np.abs(a[k] - b[k]).max() / np.abs(b[k]).max()) for k in a.files)


def compare(ours: Side, peer: Side, folder: Path) -> bool:
    """Whether both compute the same: outputs, and the losses before and after an update."""
    seconds = [ours.ask(f"predict {folder}/ours.npz")["seconds"]]
    peer.ask(f"predict {folder}/peer.npz")
    difference = largest_difference(folder / "ours.npz", folder / "peer.npz")
    changes = []
    for _ in range(2):
        answers = ours.ask("train"), peer.ask("train")
        seconds.append(answers[0]["seconds"])
        losses, expected = (np.array(answer["losses"]) for answer in answers)
        print(f"losses: {losses.round(5).tolist()}, PyTorch {expected.round(5).tolist()}")
        changes.append(float(np.abs(losses / expected - 1).max()))
    print(
        f"outputs differ by {difference:.1e} of the largest, losses by {changes[0]:.1e} and after an update by "
        f"{changes[1]:.1e} of themselves"
    )
    print(f"first calls, with compilation: prediction {seconds[0]:.1f} s, update {seconds[1]:.1f} s")
    return difference < 1e-3 and changes[0] < 1e-3 and changes[1] < 2e-2


def report_post_processing(ours: Side, network: float, rounds: int) -> None:
    print("\npost-processing of one image (5 levels x 80 classes)")
    for kind in ("typical", "crowded"):
        answers = [ours.ask(f"post_process {kind}") for _ in range(max(rounds, 5))]
        seconds = statistics.median(a["seconds"] for a in answers)
        print(
            f"  {kind}: {1000 * seconds:.1f} ms for {answers[0]['candidates']} pairs over the threshold, "
            f"{answers[0]['detections']} detections; {100 * seconds / network:.1f} % of the network's time"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", help="a Python that has torch and numpy")
    parser.add_argument("--size", type=int, default=640, help="image side in pixels (640)")
    parser.add_argument("--batch_size", type=int, default=2, help="images of a training step (2)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (7)")
    parser.add_argument("--threads", type=int, default=2, help="cores that both may use (2)")
    parser.add_argument("--profile", type=int, default=1, choices=(0, 1), help="1: also say where the time goes (1)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        side = OurSide(Path(arguments.serve), arguments.size)
        serve({name: getattr(side, name) for name in ("predict", "train", "post_process", "profile")})
        return 0
    if not arguments.torch_python:
        parser.error("--torch_python is needed: a Python that has torch and numpy")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # the processes below inherit it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", **make_inputs(arguments.size, arguments.batch_size))
        ours = Side(sys.executable, __file__, "--serve", folder, "--size", arguments.size)
        ours.answer()
        worker = ROOT / "benchmarks/peers/torch_worker.py"
        command = (arguments.torch_python, worker, folder / "weights.npz", folder / "inputs.npz", arguments.threads)
        peers = [Side(*command, **environment) for environment in PEERS.values()]
        for peer in peers:
            peer.answer()
        equal = compare(ours, peers[0], folder)
        for name in ("predict", "train"):  # PyTorch prepares itself at the first calls too
            peers[1].ask(name)
        print_race_header()
        prediction = race("predict", [ours, *peers], arguments.rounds)
        report_race("prediction, batch 1", prediction, PEERS)
        updates = race("train", [ours, *peers], arguments.rounds)
        report_race(f"update, batch {arguments.batch_size}", updates, PEERS)
        report_post_processing(ours, float(np.median(prediction[0, :, 0])), arguments.rounds)
        if arguments.profile:
            for command in ("predict", "train"):
                report_operators(command, ours.ask(f"profile {command}"))
        for side in (ours, *peers):
            side.close()
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
