"""Mask R-CNN R50-FPN on the CPU: prediction and training step, against torchvision's maskrcnn_resnet50_fpn.

    python benchmarks/mask_rcnn_speed.py --torch_python /path/to/a/python/with/torchvision

The peer (peers/torchvision_mask_rcnn.py) makes the weights, which are converted as a user would convert them; both see
the same images and objects, and detections are compared first. Both live in processes of their own that take turns, on
the same cores, so that whatever else the machine does weighs on both; ratios are medians over the rounds of ours /
torchvision's. `network` is all layers with the proposals, `prediction` detections with their 28 x 28 masks, `masks of
the image` those and the masks in pixels of the image (ours as COCO's run-length codes, torchvision's as bitmaps). A
training step has 512 regions an image; torchvision's mask head sees the positives alone, ours always 128 rows, so both
counts are printed. --profile 1 times the parts on both sides. Exit code 1 when detections differ.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from sides import PEERS, Side, operator_times, print_race_header, race, report_operators, report_race, serve, time_parts

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CONFIG = ROOT / "configs/instaboost/mask_rcnn_r50_fpn_torchvision.yaml"
NUM_GTS = 100
MASK_SIDE = 128
MASK_ROWS = 128  # regions an image that train the mask head
LEARNING_RATE = 0.0001
LEAST_EQUAL = 0.9  # share of torchvision's detections that ours must have


def make_inputs(size: int, batch: int, objects: int) -> dict[str, np.ndarray]:
    """Images of noise at several scales with elliptic objects, as the loader would make it, and the whole bitmaps."""
    import cv2

    from src.data.mask_canvas import mask_canvases
    from src.data.masks import tight_patch

    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 0.6 * size, (batch, objects, 2))
    side = np.exp(rng.uniform(np.log(16), np.log(0.4 * size), (batch, objects, 2)))
    boxes = np.zeros((batch, NUM_GTS, 4), np.float32)
    boxes[:, :objects] = np.round(np.concatenate([corner, corner + side], 2))
    labels = np.zeros((batch, NUM_GTS), np.int32)
    labels[:, :objects] = rng.integers(0, 80, (batch, objects))
    bitmaps = np.zeros((batch, objects, size, size), np.uint8)
    masks = np.zeros((batch, NUM_GTS, MASK_SIDE, MASK_SIDE), np.uint8)
    image = np.zeros((batch, size, size, 3), np.float32)
    for i in range(batch):
        for scale in (1, 4, 16, 64):
            noise = rng.standard_normal((size // scale + 1, size // scale + 1, 3), np.float32)
            image[i] += cv2.resize(noise, (size, size), interpolation=cv2.INTER_LINEAR)
        for k, (x1, y1, x2, y2) in enumerate(boxes[i, :objects]):
            centre, axes = (int(x1 + x2) // 2, int(y1 + y2) // 2), (int(x2 - x1) // 2, int(y2 - y1) // 2)
            cv2.ellipse(bitmaps[i, k], centre, axes, 0, 0, 360, 1, -1)
            image[i, bitmaps[i, k] > 0] += rng.standard_normal(3, np.float32)
        patches = [tight_patch(bitmap) for bitmap in bitmaps[i]]
        masks[i, :objects] = mask_canvases(patches, boxes[i, :objects], (1, 0, 1, 0), (size, size), MASK_SIDE, 1)
    return {
        "image": np.ascontiguousarray(image.transpose(0, 3, 1, 2)),
        "image_info": np.tile(np.float32([size, size, size, size, 1, 1]), (batch, 1)),
        "boxes": boxes,
        "labels": labels,
        "valid": np.arange(NUM_GTS)[None].repeat(batch, 0) < objects,
        "masks": masks,
        "bitmaps": bitmaps,
    }


# --- our side -----------------------------------------------------------------------------------------------------


class OurSide:
    """The project's detector, in this process."""

    def __init__(self, folder: Path, size: int) -> None:
        import src  # noqa: F401  before mindspore
        import mindspore as ms  # isort: skip

        from src.config import load_config
        from src.engine.optimizer import build_optimizer
        from src.engine.train_step import Updater
        from src.models import build_detector
        from src.weights.checkpoint import load_weights
        from src.weights.convert import convert_weights

        ms.set_device("CPU")
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_seed(1)
        overrides = {"device_target": "CPU", "img_width": size, "img_height": size, "lr": LEARNING_RATE}
        config = load_config(CONFIG, {**overrides, "num_gts": NUM_GTS, "mask_crop_size": MASK_SIDE})
        self.net = build_detector(config)
        with np.load(folder / "weights.npz") as arrays:
            load_weights(self.net, convert_weights(dict(arrays), config))
        with np.load(folder / "inputs.npz") as data:
            self.inputs = {name: data[name] for name in data.files if name != "bitmaps"}
        self.tensors = {name: ms.Tensor(array) for name, array in self.inputs.items()}
        optimizer = build_optimizer(config, self.net.trainable_params())
        self.updater = Updater(self.net, optimizer)
        self.size = size
        self.detections = None

    def network(self, _: str | None) -> dict:
        """All layers and the proposals, to host arrays; the mask head on the detections of `predict`."""
        self.net.set_train(False)
        levels, scores, boxes = self.net.compiled_boxes(self.tensors["image"], self.tensors["image_info"])
        scores.asnumpy(), boxes.asnumpy()
        found = self.detections
        self.net._masks(levels, found.boxes, found.labels, found.valid)
        return {}

    def predict(self, save_to: str | None) -> dict:
        """Detections with masks of 28 x 28."""
        found = self.detections = self.net.predict(self.tensors["image"], self.inputs["image_info"])
        if save_to:
            kept = found.valid[0]
            np.savez(
                save_to, boxes=found.boxes[0][kept], scores=found.scores[0][kept], labels=found.labels[0][kept] + 1
            )
        return {"detections": found.valid.sum(axis=1).tolist()}

    def paste(self, _: str | None) -> dict:
        """Detections with run-length codes of their masks in the image."""
        from src.evaluation.masks import encode_masks

        answer = self.predict(None)
        found = self.detections
        for masks, boxes, valid in zip(found.masks, found.boxes, found.valid, strict=True):
            encode_masks(masks[valid], boxes[valid], self.size, self.size, 0.5)
        return answer

    def train(self, _: str | None) -> dict:
        """One update."""
        self.net.set_train(True)
        values = self.updater([self.inputs], LEARNING_RATE).asnumpy().tolist()
        return {"losses": dict(zip(self.net.loss_names, values, strict=True))}

    def counts(self, _: str | None) -> dict:
        """Proposals of prediction and of training, and the regions that train."""
        from mask_rcnn_parts import Parts

        return Parts(self.net, self.tensors, MASK_ROWS).counts()

    def parts(self, rows: str | None) -> dict:
        """Seconds of each part, forward and with gradient; the mask head on `rows` regions."""
        from mask_rcnn_parts import Parts

        self.net.set_train(True)
        return {"parts": time_parts(Parts(self.net, self.tensors, int(str(rows))).tasks())}

    def profile(self, command: str | None) -> dict:
        """Milliseconds by operator type of one `predict` or `train`, by MindSpore's profiler."""
        return operator_times(lambda: getattr(self, str(command))(None))


# --- the driver ---------------------------------------------------------------------------------------------------


def share_found(ours: Path, peer: Path) -> float:
    """Share of the peer's detections that ours has: the same label, scores within 1e-3, IoU over 0.99."""
    with np.load(ours) as a, np.load(peer) as b:
        a, b = dict(a), dict(b)
    low = np.maximum(a["boxes"][:, None, :2], b["boxes"][None, :, :2])
    high = np.minimum(a["boxes"][:, None, 2:], b["boxes"][None, :, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (a["boxes"], b["boxes"])]
    close = common > 0.99 * (areas[0][:, None] + areas[1] - common)
    close &= a["labels"][:, None] == b["labels"]
    close &= np.abs(a["scores"][:, None] - b["scores"]) < 1e-3
    return float(close.any(axis=0).mean())


def compare(ours: Side, peer: Side, folder: Path) -> bool:
    """Whether both find the same; prints what both compute on."""
    first = ours.ask(f"predict {folder}/ours.npz")
    expected = peer.ask(f"predict {folder}/peer.npz")
    share = share_found(folder / "ours.npz", folder / "peer.npz")
    print(f"detections: {first['detections']}, torchvision {expected['detections']}; {share:.0%} of its are among ours")
    update = ours.ask("train")
    for name, side, losses in (("ours", ours, update), ("torchvision", peer, peer.ask("train"))):
        terms = ", ".join(f"{key} {value:.4f}" for key, value in losses["losses"].items())
        counts = ", ".join(f"{v} {k}" for k, v in side.ask("counts").items() if not k.endswith("seconds"))
        print(f"{name}: {counts}\n  {terms}")
    print(f"first calls, with compilation: prediction {first['seconds']:.1f} s, update {update['seconds']:.1f} s")
    return share >= LEAST_EQUAL


def report_parts(ours: Side, peer: Side, rows: int) -> None:
    """Milliseconds of the parts on both sides."""
    mine, theirs = (side.ask(f"parts {rows}")["parts"] for side in (ours, peer))
    titles = ("ours", 9), ("torchvision", 13), ("ratio", 7)
    columns = "".join(f"{title:>{width}}" for title, width in titles)
    print(
        f"\nparts, ms; mask head on {rows} regions\n{'':<28}{'forward':^29}{'with gradient':^29}\n{'':<28}{2 * columns}"
    )
    for name, variants in mine.items():
        line = f"{name:<28}"
        for seconds, expected in zip(variants, theirs[name], strict=True):
            if seconds is not None:
                line += f"{1e3 * seconds:>9.1f}{1e3 * expected:>13.1f}{seconds / expected:>7.2f}"
        print(line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", help="a Python that has torch, torchvision and numpy")
    parser.add_argument("--size", type=int, default=800, help="image side in pixels, a multiple of 32 (800)")
    parser.add_argument("--batch", type=int, default=1, help="images (1)")
    parser.add_argument("--objects", type=int, default=8, help="objects an image (8; COCO has 7.3)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (5)")
    parser.add_argument("--threads", type=int, default=2, help="cores that both may use (2)")
    parser.add_argument("--avx2", type=int, default=0, choices=(0, 1), help="1: also PyTorch held to AVX2 (0)")
    parser.add_argument("--profile", type=int, default=0, choices=(0, 1), help="1: also say where the time goes (0)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        side = OurSide(Path(arguments.serve), arguments.size)
        commands = ("network", "predict", "paste", "train", "counts", "parts", "profile")
        serve({name: getattr(side, name) for name in commands})
        return 0
    if not arguments.torch_python:
        parser.error("--torch_python is needed: a Python that has torch, torchvision and numpy")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # the processes below inherit it
    chosen = dict(list(PEERS.items())[: 1 + arguments.avx2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", **make_inputs(arguments.size, arguments.batch, arguments.objects))
        worker = ROOT / "benchmarks/peers/torchvision_mask_rcnn.py"
        peers = []
        for environment in chosen.values():
            peers.append(Side(arguments.torch_python, worker, folder, arguments.threads, **environment))
            peers[-1].answer()
        ours = Side(sys.executable, __file__, "--serve", folder, "--size", arguments.size)
        ours.answer()
        equal = compare(ours, peers[0], folder)
        sides = [ours, *peers]
        for side in sides:  # first calls prepare
            for command in ("predict", "network", "paste", "train"):
                side.ask(command)
        print_race_header(24)
        for title, command in (
            ("network", "network"),
            ("prediction", "predict"),
            ("masks of the image", "paste"),
            ("training step", "train"),
        ):
            report_race(title, race(command, sides, arguments.rounds), chosen, 24)
        if arguments.profile:
            report_parts(ours, peers[0], MASK_ROWS)
            for command in ("predict", "train"):
                report_operators(command, ours.ask(f"profile {command}"))
        for side in sides:
            side.close()
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
