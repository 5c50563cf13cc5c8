"""Runs the PyTorch peer of spinenet_speed.py: reads one command a line, answers one JSON a line after '@'."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch_retinanet import RetinaNet, anchors_of, losses

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sides import serve

RENAMED = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def load_weights(net: RetinaNet, path: str) -> None:
    """Load the weights that the MindSpore side saved; every one must have its place."""
    state = {}
    with np.load(path) as arrays:
        for name in arrays.files:
            stem, _, leaf = name.rpartition(".")
            state[f"{stem}.{RENAMED.get(leaf, leaf)}"] = torch.from_numpy(arrays[name])
    missing, unexpected = net.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(f"the networks differ: missing {missing}, unexpected {unexpected}")


def main() -> None:
    weights, inputs, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    net = RetinaNet()
    load_weights(net, weights)
    with np.load(inputs) as data:
        images = torch.from_numpy(data["image"])
        valid = data["valid"]
        boxes = [torch.from_numpy(b[v]) for b, v in zip(data["boxes"], valid, strict=True)]
        labels = [torch.from_numpy(x[v]).long() for x, v in zip(data["labels"], valid, strict=True)]
    anchors = anchors_of(images.shape[-1])
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 4e-5}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.0001, momentum=0.9)

    def predict(save_to: str | None) -> dict:
        net.eval()
        with torch.inference_mode():
            outputs = [x.numpy() for level in net(images[:1]) for x in level]
        if save_to:
            np.savez(save_to, *outputs)
        return {}

    def train(_: str | None) -> dict:
        net.train()
        terms = losses(net, anchors, images, boxes, labels)
        optimizer.zero_grad(set_to_none=True)
        terms.sum().backward()
        optimizer.step()
        return {"losses": terms.tolist()}

    serve({"predict": predict, "train": train})


if __name__ == "__main__":
    main()
