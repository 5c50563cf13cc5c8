"""RefineDet in PyTorch, on VGG-16: the peer of refinedet_speed.py and mmdetection_race.py, run by a Python with torch.

The same network from the paper's tables, with the same parameter names, and the detection step as PyTorch users write
it: greedy suppression class by class, in PyTorch (as the public port does) or by torchvision's operator. Its parts take
other backbones too (torch_refinedet_ap.py).
Arguments: weights.npz, inputs.npz, number of threads.
"""

import sys
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch_worker import load_weights, make_optimizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sides import serve

GROUPS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


@dataclass(frozen=True)
class Rules:
    """How raw outputs become detections; by default the published way."""

    score_thr: float = 0.01
    objectness_thr: float = 0.01
    iou_thr: float = 0.45
    nms_pre: int = 1000
    max_detections: int = 500
    variances: tuple[float, float] = (0.1, 0.2)  # of centres and of sides


PUBLISHED = Rules()


def conv(channels: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, outputs, kernel, stride, kernel // 2 * dilation, dilation)


class VGG16(nn.Module):
    """conv4_3, conv5_3 and fc7."""

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for i, (count, width) in enumerate(GROUPS):
            for _ in range(count):
                layers += [conv(channels, width, 3), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=i == 2))
        layers += [conv(512, 1024, 3, dilation=3), nn.ReLU(inplace=True), conv(1024, 1024, 1), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)

    def forward(self, x):
        conv4_3 = self.features[:23](x)
        conv5_3 = self.features[23:30](conv4_3)
        return conv4_3, conv5_3, self.features[30:](conv5_3)


class L2Norm(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return self.weight[None, :, None, None] * x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)


class Levels(nn.Module):
    """The ARM's four levels on VGG-16."""

    def __init__(self):
        super().__init__()
        self.l2_norms = nn.ModuleList([L2Norm(512), L2Norm(512)])
        self.conv6_1, self.conv6_2 = conv(1024, 256, 1), conv(256, 512, 3, 2)

    def forward(self, features):
        last = F.relu_(self.conv6_2(F.relu_(self.conv6_1(features[2]))))
        return self.l2_norms[0](features[0]), self.l2_norms[1](features[1]), features[2], last


def unit(name: str, layer: nn.Module, channels: int, bn: bool) -> nn.Sequential:
    """A layer that is called `name` inside its parent, and its normalization."""
    layers = OrderedDict({name: layer})
    if bn:
        layers["bn"] = nn.BatchNorm2d(channels)
    return nn.Sequential(layers)


class TCB(nn.Module):
    def __init__(self, inputs: int, channels: int, has_coarser: bool, bn: bool):
        super().__init__()
        for name, width in (("conv1", inputs), ("conv2", channels), ("conv3", channels)):
            layer = nn.Conv2d(width, channels, 3, 1, 1, bias=not bn)
            self.add_module(name, unit("conv", layer, channels, bn))
        self.upsample = None
        if has_coarser:
            layer = nn.ConvTranspose2d(channels, channels, 2, 2, bias=not bn)
            self.upsample = unit("deconv", layer, channels, bn)

    def forward(self, x, coarser):
        x = self.conv2(F.relu_(self.conv1(x)))
        if self.upsample is not None:
            x = x + self.upsample(coarser)
        return F.relu_(self.conv3(F.relu_(x)))


class Head(nn.Module):
    def __init__(self, channels: list[int], outputs: int):
        super().__init__()
        self.loc_convs = nn.ModuleList([conv(c, 12, 3) for c in channels])
        self.conf_convs = nn.ModuleList([conv(c, 3 * outputs, 3) for c in channels])
        self.outputs = outputs

    def forward(self, levels):
        def rows(convs: nn.ModuleList, width: int):
            maps = [c(x).permute(0, 2, 3, 1).reshape(len(x), -1, width) for c, x in zip(convs, levels, strict=True)]
            return torch.cat(maps, 1)

        return rows(self.loc_convs, 4), rows(self.conf_convs, self.outputs)


class RefineDet(nn.Module):
    """Raw outputs: the ARM's deltas and scores, the ODM's deltas and scores.

    `widths`: channels of the ARM's four levels; `channels`: of the ODM's, with batch normalization where `bn`.
    """

    def __init__(self, backbone, levels, widths: list[int], outputs: int, channels: int = 256, bn: bool = False):
        super().__init__()
        self.backbone, self.levels = backbone, levels
        blocks = [TCB(width, channels, i < 3, bn) for i, width in enumerate(widths)]
        self.neck = nn.Sequential(OrderedDict(blocks=nn.ModuleList(blocks)))
        self.arm_head, self.odm_head = Head(widths, 2), Head([channels] * 4, outputs)

    def forward(self, images):
        levels = self.levels(self.backbone(images))
        connected, coarser = [], None
        for block, level in zip(reversed(self.neck.blocks), reversed(levels), strict=True):
            coarser = block(level, coarser)
            connected.insert(0, coarser)
        return (*self.arm_head(levels), *self.odm_head(connected))


def decode(deltas, boxes, variances):
    """Deltas [P,4] of boxes (centre, size) [P,4] -> the same."""
    centre = boxes[:, :2] + deltas[:, :2] * variances[0] * boxes[:, 2:]
    return torch.cat([centre, boxes[:, 2:] * torch.exp(deltas[:, 2:] * variances[1])], 1)


def greedy(boxes, scores, iou_thr: float = PUBLISHED.iou_thr):
    """Suppression in PyTorch's operators: indices of the kept boxes."""
    order, area, kept = scores.argsort(descending=True), (boxes[:, 2:] - boxes[:, :2]).prod(1), []
    while len(order):
        first = order[0]
        kept.append(int(first))
        order = order[1:]
        sides = torch.minimum(boxes[first, 2:], boxes[order, 2:]) - torch.maximum(boxes[first, :2], boxes[order, :2])
        common = sides.clamp(min=0).prod(1)
        order = order[common / (area[first] + area[order] - common) <= iou_thr]
    return torch.tensor(kept)


def detect(raw, anchors, nms, rules: Rules = PUBLISHED):
    """Raw outputs of one image -> rows (label, score, x1, y1, x2, y2) in network pixels, best first."""
    arm_loc, arm_conf, odm_loc, odm_conf = (x[0] for x in raw)
    scores = odm_conf.softmax(1)[:, 1:] * (arm_conf.softmax(1)[:, 1:] > rules.objectness_thr)
    boxes = decode(odm_loc, decode(arm_loc, anchors, rules.variances), rules.variances)
    boxes = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    rows = []
    for label in range(scores.shape[1]):
        found = scores[:, label] > rules.score_thr
        if not found.any():
            continue
        score, box = scores[found, label], boxes[found]
        score, order = score.sort(descending=True)
        score, box = score[: rules.nms_pre], box[order[: rules.nms_pre]]
        kept = nms(box, score, rules.iou_thr)
        rows.append(torch.cat([torch.full((len(kept), 1), float(label)), score[kept, None], box[kept]], 1))
    rows = torch.cat(rows) if rows else torch.zeros(0, 6)
    return rows[rows[:, 1].argsort(descending=True)[: rules.max_detections]]


def overlaps(boxes, objects):
    """IoU [P,N] of boxes [P,4] and objects [N,4], by their corners."""
    low, high = torch.maximum(boxes[:, None, :2], objects[:, :2]), torch.minimum(boxes[:, None, 2:], objects[:, 2:])
    common = (high - low).clamp(min=0).prod(2)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (boxes, objects)]
    return common / (areas[0][:, None] + areas[1] - common)


def match(boxes, objects, iou_thr: float = 0.5):
    """Which object each box [P,4] should find, -1 for none: the one it overlaps most, and each object's best box."""
    iou = overlaps(boxes, objects)
    best, index = iou.max(1)
    index[best < iou_thr] = -1
    index[iou.argmax(0)] = torch.arange(len(objects))
    return index


def encode(objects, boxes, variances, epsilon: float = 1e-5):
    """Deltas [P,4] that `decode` makes objects [P,4] of boxes [P,4] with; both by centre and size."""
    centre = (objects[:, :2] - boxes[:, :2]) / (variances[0] * boxes[:, 2:])
    return torch.cat([centre, torch.log(objects[:, 2:] / boxes[:, 2:] + epsilon) / variances[1]], 1)


def multibox_loss(deltas, scores, targets, classes, positive, ratio: float = 3.0):
    """SSD's two losses of one image: smooth L1 of the positives, cross entropy of them and of the hardest others."""
    losses = F.cross_entropy(scores, classes, reduction="none")
    others = losses.detach().masked_fill(positive, -1)
    hardest = others.topk(min(int(ratio * positive.sum()), int((~positive).sum()))).indices
    location = F.smooth_l1_loss(deltas[positive], targets[positive], reduction="sum")
    return location, losses[positive].sum() + losses[hardest].sum()


def losses(raw, anchors, boxes, labels, rules: Rules = PUBLISHED):
    """The four losses of one image; anchors by centre and size, boxes [N,4] by their corners, labels from 0."""
    arm_loc, arm_conf, odm_loc, odm_conf = (x[0] for x in raw)
    terms = []
    with torch.no_grad():
        refined = decode(arm_loc, anchors, rules.variances)
        is_object = arm_conf.softmax(1)[:, 1] > rules.objectness_thr
    for deltas, scores, priors in ((arm_loc, arm_conf, anchors), (odm_loc, odm_conf, refined)):
        with torch.no_grad():
            index = match(torch.cat([priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2], 1), boxes)
            positive = index >= 0
            targets = encode(centred(boxes)[index.clamp(min=0)], priors, rules.variances)
            classes = positive.long()
            if priors is refined:
                classes = torch.where(positive, labels[index.clamp(min=0)] + 1, 0)
                positive &= is_object
        terms += [x / positive.sum().clamp(min=1) for x in multibox_loss(deltas, scores, targets, classes, positive)]
    return torch.stack(terms)


def torchvision_nms():
    """Torchvision's suppression, or None where it is not installed."""
    try:
        from torchvision.ops import nms
    except ImportError:
        return None
    return nms


def centred(corners):
    """Boxes by their corners [P,4] -> by centre and size."""
    return torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)


def main() -> None:
    weights, inputs, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    with np.load(inputs) as data:
        arrays = {name: torch.from_numpy(data[name]) for name in data.files}
    with np.load(weights) as data:
        outputs = data["odm_head.conf_convs.0.bias"].size // 3  # anchors per cell
    net = RefineDet(VGG16(), Levels(), [512, 512, 1024, 512], outputs)
    load_weights(net, weights)
    anchors = centred(arrays["anchors"])
    by_operator = torchvision_nms()

    optimizer = make_optimizer(net, float(arrays.get("lr", 0)), float(arrays.get("weight_decay", 0)))

    def train(_: str | None) -> dict:
        valid = arrays["valid"][0]
        boxes, labels = arrays["boxes"][0][valid], arrays["labels"][0][valid].long()
        terms = losses(net(arrays["image"]), anchors, boxes, labels)
        optimizer.zero_grad(set_to_none=True)
        terms.sum().backward()
        optimizer.step()
        return {"losses": dict(zip(("arm_loc", "arm_conf", "odm_loc", "odm_conf"), terms.tolist(), strict=True))}

    def network(save_to: str | None) -> dict:
        with torch.inference_mode():
            outputs = [x.numpy() for x in net(arrays["image"])]
        if save_to:
            np.savez(save_to, *outputs)
        return {}

    def run_detection(kind: str, nms, save_to: str | None = None) -> dict:
        with torch.inference_mode():
            raw = [arrays[f"{kind}_{name}"] for name in ("arm_loc", "arm_conf", "odm_loc", "odm_conf")]
            rows = detect(raw, anchors, nms)
        if save_to:
            np.savez(save_to, rows.numpy())
        return {"detections": len(rows)}

    def select(kind: str | None) -> dict:
        return run_detection(str(kind), greedy)

    def select_by_operator(kind: str | None) -> dict:
        return {"missing": True} if by_operator is None else run_detection(str(kind), by_operator)

    def save(kind: str | None) -> dict:
        return run_detection(str(kind), greedy, str(Path(weights).with_name(f"peer_{kind}.npz")))

    commands = (network, train, select, select_by_operator, save)
    serve({command.__name__: command for command in commands})


if __name__ == "__main__":
    main()
