"""Runs a PyTorch peer of the RetinaNet benchmarks: reads one command per line, answers one JSON per line after '@'.

    python torch_worker.py MODULE WEIGHTS INPUTS THREADS

MODULE is a file beside this one whose `detector()` makes the network.
"""

import importlib
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch_retinanet import anchors_of, detect, losses

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sides import serve


def load_weights(net: nn.Module, path: str) -> None:
    """Load the weights that the MindSpore side saved by PyTorch's names; every one must have its place."""
    with np.load(path) as arrays:
        state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    missing, unexpected = net.load_state_dict(state, strict=False)
    own = net.state_dict()
    given = {own[name].data_ptr() for name in state if name in own}  # levels that share a layer name it each
    missing = [n for n in missing if not n.endswith("num_batches_tracked") and own[n].data_ptr() not in given]
    if missing or unexpected:
        raise SystemExit(f"the networks differ: missing {missing}, unexpected {unexpected}")


def make_optimizer(net: nn.Module, rate: float, weight_decay: float) -> torch.optim.SGD:
    """SGD with momentum; biases and normalizations do not decay. Frozen weights are left out."""
    trained = [p for p in net.parameters() if p.requires_grad]
    decayed, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=rate, momentum=0.9)


def main() -> None:
    module, weights, inputs, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    torch.set_num_threads(threads)
    net = importlib.import_module(module).detector()
    load_weights(net, weights)
    with np.load(inputs) as data:
        images = torch.from_numpy(data["image"])
        valid = data["valid"]
        boxes = [torch.from_numpy(b[v]) for b, v in zip(data["boxes"], valid, strict=True)]
        labels = [torch.from_numpy(x[v]).long() for x, v in zip(data["labels"], valid, strict=True)]
        rate, weight_decay = float(data["lr"]), float(data["weight_decay"])
    size = images.shape[-1]
    anchors = anchors_of(size, net.base_scale)
    optimizer = make_optimizer(net, rate, weight_decay)

    def network(save_to: str | None) -> dict:
        net.eval()
        with torch.inference_mode():
            outputs = [x.numpy() for level in net(images[:1]) for x in level]
        if save_to:
            np.savez(save_to, *outputs)
        return {}

    def predict(save_to: str | None) -> dict:
        net.eval()
        with torch.inference_mode():
            boxes, scores, labels = (x.numpy() for x in detect(*net(images[:1]), anchors, size))
        if save_to:
            np.savez(save_to, boxes=boxes, scores=scores, labels=labels)
        return {"detections": len(boxes)}

    def train(_: str | None) -> dict:
        net.train()
        terms = losses(net, anchors, images, boxes, labels)
        optimizer.zero_grad(set_to_none=True)
        terms.sum().backward()
        optimizer.step()
        return {"losses": dict(zip(("loss_cls", "loss_bbox"), terms.tolist(), strict=True))}

    serve({"network": network, "predict": predict, "train": train})


if __name__ == "__main__":
    main()
