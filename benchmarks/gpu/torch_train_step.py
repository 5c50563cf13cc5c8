"""Time training steps of the same network in PyTorch, with and without autocast; run_all.sh runs it.

    python benchmarks/gpu/torch_train_step.py --detector nas_fpn --precision autocast

SpineNet and NAS-FPN are the networks of benchmarks/peers with RetinaNet's losses, Mask R-CNN is torchvision's. Of
RefineDet the peer has no losses: the mean square of its outputs stands in for them, so its step does a little less.
"""

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from cases import DETECTORS, ROUNDS, time_steps

BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "peers")]

from random_batch import CLASSES, OBJECTS, make_batch  # noqa: E402  found by the line above


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--detector", choices=[name for name in DETECTORS if name != "cascade_mask_rcnn"], required=True
    )
    parser.add_argument("--device", choices=("GPU", "CPU"), default="GPU")
    parser.add_argument("--precision", choices=("float32", "autocast"), default="float32")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=0, help="side of the images; 0: the configuration's")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    device = "cuda" if args.device == "GPU" else "cpu"
    size = args.size or DETECTORS[args.detector][1]
    torch.backends.cudnn.benchmark = True
    arrays = make_batch(size, args.batch)
    images = torch.from_numpy(arrays["image"]).to(device)
    boxes = [torch.from_numpy(b[:OBJECTS]).to(device) for b in arrays["boxes"]]
    labels = [torch.from_numpy(x[:OBJECTS]).long().to(device) for x in arrays["labels"]]
    build = {"mask_rcnn": mask_rcnn, "refinedet": refinedet}.get(args.detector, retinanet)
    net, loss_of = build(args.detector, size)
    net.to(device).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9, weight_decay=1e-4)
    half = args.precision == "autocast"
    scaler = torch.amp.GradScaler(device, enabled=half and device == "cuda")

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.float16 if device == "cuda" else torch.bfloat16, enabled=half):
            loss = loss_of(net, images, boxes, labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return float(loss)  # waits for the device

    time_steps(step, args.rounds)


def retinanet(detector: str, size: int) -> tuple[torch.nn.Module, Callable]:
    from torch_retinanet import anchors_of, losses

    net = importlib.import_module(f"torch_{detector}").detector()
    anchors = anchors_of(size, net.base_scale)

    def loss_of(net: torch.nn.Module, images: torch.Tensor, boxes: list, labels: list) -> torch.Tensor:
        return losses(net, anchors.to(images.device), images, boxes, labels).sum()

    return net, loss_of


def mask_rcnn(_detector: str, size: int) -> tuple[torch.nn.Module, Callable]:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    net = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, min_size=size, max_size=size
    )

    def loss_of(net: torch.nn.Module, images: torch.Tensor, boxes: list, labels: list) -> torch.Tensor:
        targets = [
            {"boxes": b, "labels": x + 1, "masks": torch.ones(len(b), size, size, dtype=torch.uint8, device=b.device)}
            for b, x in zip(boxes, labels, strict=True)
        ]
        return sum(net(list(images), targets).values())

    return net, loss_of


def refinedet(_detector: str, _size: int) -> tuple[torch.nn.Module, Callable]:
    from torch_refinedet import VGG16, Levels, RefineDet

    net = RefineDet(VGG16(), Levels(), [512, 512, 1024, 512], CLASSES + 1)

    def loss_of(net: torch.nn.Module, images: torch.Tensor, _boxes: list, _labels: list) -> torch.Tensor:
        return sum(output.float().square().mean() for output in _tensors(net(images)))

    return net, loss_of


def _tensors(outputs: object) -> list[torch.Tensor]:
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [tensor for output in outputs for tensor in _tensors(output)]


if __name__ == "__main__":
    main()
