"""A RetinaNet of this project against the same network in PyTorch: what the benchmarks of the backbones share.

Both sides have the same weights and see the same images and objects; outputs and losses are compared first. They live
in processes of their own that take turns, on the same cores, so that whatever else the machine does weighs on all; the
ratio is the median over the rounds of ours / PyTorch's. `network` is one image to raw outputs, `prediction` to
detections, `update` a training step.

The outputs of a new network would give no candidates at all. Where predictions are timed, its batch normalizations
therefore get the statistics of the image, and its last layer is scaled so that class logits have the mean and deviation
of --logits: -2.5 1.3, the default, puts a third of all pairs over the threshold, more than any trained network gives.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from random_batch import make_batch
from sides import PEERS, Side, operator_times, print_race_header, race, report_operators, report_race, serve

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# Small, because fp32 gradients of a new network carry noise of some percent: one update must not amplify it.
LEARNING_RATE = 0.0001
LEAST_EQUAL = 0.9  # share of PyTorch's detections that ours must have


def make_inputs(size: int, batch: int, weight_decay: float) -> dict[str, np.ndarray]:
    """A batch, and the settings of the optimizer."""
    return {**make_batch(size, batch), "lr": np.float32(LEARNING_RATE), "weight_decay": np.float32(weight_decay)}


def overrides_of(size: int) -> dict:
    """What both our side and its ONNX file are configured with."""
    return {"device_target": "CPU", "img_width": size, "img_height": size, "lr": LEARNING_RATE}


# --- our side -----------------------------------------------------------------------------------------------------


class OurSide:
    """The project's detector, in this process."""

    def __init__(self, config_path: Path, folder: Path, size: int, checkpoint: str, logits: list[float] | None) -> None:
        import src  # noqa: F401  before mindspore
        import mindspore as ms  # isort: skip

        from src.config import load_config
        from src.engine.optimizer import build_optimizer
        from src.engine.train_step import Updater
        from src.models import build_detector
        from src.weights.checkpoint import load_checkpoint_weights, load_weights, save_weights
        from src.weights.convert import pytorch_names

        ms.set_device("CPU")
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_seed(1)
        config = load_config(config_path, overrides_of(size))
        self.net = build_detector(config)
        self.inputs = dict(np.load(folder / "inputs.npz"))
        self.image = ms.Tensor(self.inputs["image"][:1])
        self.info = self.inputs["image_info"][:1]
        if checkpoint and Path(checkpoint).exists():
            load_weights(self.net, load_checkpoint_weights(checkpoint), checkpoint)
        elif logits is not None:
            settle_statistics(self.net, self.image)
            spread_logits(self.net, self.image, *logits)
        weights = {p.name: p.asnumpy() for p in self.net.get_parameters()}
        np.savez(folder / "weights.npz", **pytorch_names(weights))
        if checkpoint and not Path(checkpoint).exists():
            save_weights(checkpoint, weights)
        optimizer = build_optimizer(config, self.net.trainable_params())
        self.updater = Updater(self.net, optimizer)
        self.rate = config.lr

    def network(self, save_to: str | None) -> dict:
        """Raw outputs of one image, to host arrays."""
        self.net.set_train(False)
        outputs = [x.asnumpy() for level in self.net.compiled_outputs(self.image) for x in level]
        if save_to:
            np.savez(save_to, *outputs)
        return {}

    def predict(self, save_to: str | None) -> dict:
        """Detections of one image."""
        return save_detections(self.net.predict(self.image, self.info), save_to)

    def train(self, _: str | None) -> dict:
        """One update."""
        self.net.set_train(True)
        values = self.updater([self.inputs], self.rate).asnumpy().tolist()
        return {"losses": dict(zip(self.net.loss_names, values, strict=True))}

    def post_process(self, kind: str | None) -> dict:
        """Selection and suppression for one image; `crowded`: every level has more candidates than nms_pre."""
        logits, deltas = raw_outputs(self.inputs["image"].shape[-1], crowded=kind == "crowded")
        start = time.perf_counter()
        found = self.net.post_processor(logits, deltas, self.info)
        seconds = time.perf_counter() - start
        passed = sum(int((level > np.log(0.05 / 0.95)).sum()) for level in logits)
        return {"seconds": seconds, "candidates": passed, "detections": int(found[3].sum())}

    def profile(self, command: str | None) -> dict:
        """Milliseconds by operator type of one `network` or `train`, by MindSpore's profiler."""
        return operator_times(lambda: getattr(self, str(command))(None))


class OnnxSide:
    """An exported file in ONNX Runtime, in this process, with the project's selection after it."""

    def __init__(self, config_path: Path, folder: Path, size: int, onnx_file: str) -> None:
        from src.config import load_config
        from src.deploy.exported_model import ExportedDetector

        self.detector = ExportedDetector(onnx_file, load_config(config_path, overrides_of(size)))
        with np.load(folder / "inputs.npz") as inputs:
            self.image, self.info = inputs["image"][:1], inputs["image_info"][:1]

    def network(self, _: str | None) -> dict:
        """Boxes and scores of one image."""
        self.detector.exported.run(self.image)
        return {}

    def predict(self, save_to: str | None) -> dict:
        """Detections of one image."""
        return save_detections(self.detector.predict(self.image, self.info), save_to)


def settle_statistics(net, image) -> None:
    """Give each batch normalization the image's statistics, which training would: then all modes compute alike."""
    import mindspore as ms

    norms = [cell for _, cell in net.cells_and_names() if isinstance(cell, ms.nn.BatchNorm2d)]
    ms.set_context(mode=ms.PYNATIVE_MODE)
    net.set_train(True)
    net.dense_outputs(image)
    ms.set_context(mode=ms.GRAPH_MODE)
    for norm in norms:  # running value = kept share x start (mean 0, variance 1) + new share x the image's
        new = norm.momentum  # the cell keeps 1 minus what it was made with
        norm.moving_mean.set_data(norm.moving_mean / new)
        norm.moving_variance.set_data(ms.ops.clamp((norm.moving_variance - (1 - new)) / new, 1e-3))


def spread_logits(net, image, mean: float, deviation: float) -> None:
    """Scale the class output of a new network to the given logits."""
    net.set_train(False)
    logits = np.concatenate([level.asnumpy().reshape(-1) for level in net.compiled_outputs(image)[0]])
    output = net.bbox_head.retina_cls
    output.weight.set_data(output.weight * float(deviation / logits.std()))
    output.bias.set_data(output.bias * 0 + mean)


def save_detections(found, save_to: str | None) -> dict:
    """Keep the first image's detections as an .npz file."""
    kept = found.valid[0]
    if save_to:
        np.savez(save_to, boxes=found.boxes[0][kept], scores=found.scores[0][kept], labels=found.labels[0][kept])
    return {"detections": int(kept.sum())}


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


def equal_detections(first: Path, second: Path) -> float:
    """Share of the second file's detections of which the first has one: same label, IoU over 0.99, scores to 1e-3."""
    with np.load(first) as a, np.load(second) as b:
        low = np.maximum(a["boxes"][:, None, :2], b["boxes"][None, :, :2])
        high = np.minimum(a["boxes"][:, None, 2:], b["boxes"][None, :, 2:])
        common = np.clip(high - low, 0, None).prod(-1)
        areas = [(f["boxes"][:, 2:] - f["boxes"][:, :2]).prod(-1) for f in (a, b)]
        same = common > 0.99 * (areas[0][:, None] + areas[1][None] - common)
        same &= a["labels"][:, None] == b["labels"][None]
        same &= np.abs(a["scores"][:, None] - b["scores"][None]) < 1e-3
        return float(same.any(0).mean()) if same.size else 1.0


def compare(ours: Side, peer: Side, folder: Path, with_detections: bool) -> bool:
    """Whether both compute the same: outputs, detections, and the losses before and after an update."""
    seconds = [ours.ask(f"network {folder}/ours.npz")["seconds"]]
    peer.ask(f"network {folder}/peer.npz")
    difference = largest_difference(folder / "ours.npz", folder / "peer.npz")
    share = 1.0
    if with_detections:
        counts = [side.ask(f"predict {folder}/{name}.npz")["detections"] for side, name in ((ours, "o"), (peer, "p"))]
        share = equal_detections(folder / "o.npz", folder / "p.npz")
        print(f"detections: {counts[0]}, PyTorch {counts[1]}; {100 * share:.0f} % of PyTorch's are among ours")
    changes = []
    for _ in range(2):
        answers = ours.ask("train"), peer.ask("train")
        seconds.append(answers[0]["seconds"])
        losses, expected = (np.array([*answer["losses"].values()]) for answer in answers)
        print(f"losses: {losses.round(5).tolist()}, PyTorch {expected.round(5).tolist()}")
        changes.append(float(np.abs(losses / expected - 1).max()))
    print(
        f"outputs differ by {difference:.1e} of the largest, losses by {changes[0]:.1e} and after an update by "
        f"{changes[1]:.1e} of themselves"
    )
    print(f"first calls, with compilation: network {seconds[0]:.1f} s, update {seconds[1]:.1f} s")
    return difference < 1e-3 and share >= LEAST_EQUAL and changes[0] < 1e-3 and changes[1] < 2e-2


def report_post_processing(ours: Side, network: float, rounds: int) -> None:
    print("\npost-processing of one image (5 levels x 80 classes)")
    for kind in ("typical", "crowded"):
        answers = [ours.ask(f"post_process {kind}") for _ in range(max(rounds, 5))]
        seconds = statistics.median(a["seconds"] for a in answers)
        print(
            f"  {kind}: {1000 * seconds:.1f} ms for {answers[0]['candidates']} pairs over the threshold, "
            f"{answers[0]['detections']} detections; {100 * seconds / network:.1f} % of the network's time"
        )


def report_onnx(onnx: Side, peers: list[Side], rounds: int) -> None:
    """The exported file against PyTorch."""
    for command, label in (("network", "ONNX, network"), ("predict", "ONNX, prediction")):
        onnx.ask(command)
        report_race(label, race(command, [onnx, *peers], rounds), PEERS)


def run(doc: str, config_path: Path, module: str, batch_size: int, with_detections: bool = False) -> int:
    """A benchmark's main program.

    Args:
        doc: its docstring, for --help.
        config_path: our side's experiment.
        module: the peer, a file of peers/.
        batch_size: images of a training step unless the command line says otherwise.
        with_detections: also compare and time whole predictions, which needs torchvision beside torch.

    Returns:
        Exit code: 1 when the two sides differ.
    """
    arguments = _arguments(doc, batch_size)
    if arguments.serve:
        folder = Path(arguments.serve)
        if arguments.onnx:
            side = OnnxSide(config_path, folder, arguments.size, arguments.onnx)
        else:
            logits = arguments.logits if with_detections else None
            side = OurSide(config_path, folder, arguments.size, arguments.checkpoint, logits)
        names = ("network", "predict", "train", "post_process", "profile")
        serve({name: getattr(side, name) for name in names if hasattr(side, name)})
        return 0
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # the processes below inherit it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        from src.config import load_config

        inputs = make_inputs(arguments.size, arguments.batch_size, load_config(config_path).weight_decay)
        np.savez(folder / "inputs.npz", **inputs)
        script = (sys.executable, sys.argv[0], "--serve", folder, "--size", arguments.size)
        ours = Side(*script, "--checkpoint", arguments.checkpoint, "--logits", *arguments.logits)
        ours.answer()
        worker = (arguments.torch_python, ROOT / "benchmarks/peers/torch_worker.py", module)
        command = (*worker, folder / "weights.npz", folder / "inputs.npz", arguments.threads)
        peers = [Side(*command, **environment) for environment in PEERS.values()]
        sides = [ours, *peers]
        for peer in peers:
            peer.answer()
        equal = compare(ours, peers[0], folder, with_detections)
        commands = ["network", *(["predict"] if with_detections else []), "train"]
        for command in commands:  # PyTorch prepares itself at the first calls too
            peers[1].ask(command)
        print_race_header()
        labels = {"network": "network", "predict": "prediction", "train": f"update, batch {arguments.batch_size}"}
        times = {command: race(command, sides, arguments.rounds) for command in commands}
        for command in commands:
            report_race(labels[command], times[command], PEERS)
        if arguments.onnx:
            onnx = Side(*script, "--onnx", arguments.onnx)
            onnx.answer()
            report_onnx(onnx, peers, arguments.rounds)
            sides.append(onnx)
        report_post_processing(ours, float(np.median(times["network"][0, :, 0])), arguments.rounds)
        if arguments.profile:
            for command in ("network", "train"):
                report_operators(command, ours.ask(f"profile {command}"))
        for side in sides:
            side.close()
    return 0 if equal else 1


def _arguments(doc: str, batch_size: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", help="a Python that has torch and numpy (and torchvision, for predictions)")
    parser.add_argument("--size", type=int, default=640, help="image side in pixels (640)")
    parser.add_argument("--batch_size", type=int, default=batch_size, help=f"images of a training step ({batch_size})")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (7)")
    parser.add_argument("--threads", type=int, default=2, help="cores that both may use (2)")
    parser.add_argument("--profile", type=int, default=1, choices=(0, 1), help="1: also say where the time goes (1)")
    parser.add_argument("--logits", type=float, nargs=2, default=[-2.5, 1.3], help="mean and deviation (-2.5 1.3)")
    parser.add_argument("--checkpoint", default="", help="weights of both sides; written where it does not exist")
    parser.add_argument("--onnx", default="", help="also time this file, which export.py made of --checkpoint")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.serve and not arguments.torch_python:
        parser.error("--torch_python is needed: a Python that has torch and numpy")
    return arguments
