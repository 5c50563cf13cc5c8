"""RetinaNet's head, anchors, losses and selection in PyTorch, shared by the peers of the RetinaNet benchmarks.

They run with a Python that has torch, have the same parameter names, and take the operators PyTorch users would take.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


class Stage(nn.Module):
    """A convolution (of the first level, shared by all) and the normalization of one level."""

    def __init__(self, has_conv: bool, bn: dict):
        super().__init__()
        if has_conv:
            self.conv = nn.Conv2d(256, 256, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(256, **bn)


class Head(nn.Module):
    """Class logits and box deltas of each level."""

    def __init__(self, num_classes: int, bn: dict):
        super().__init__()
        self.cls_convs, self.reg_convs = (
            nn.ModuleList(nn.ModuleList(Stage(level == 0, bn) for _ in range(4)) for level in range(5))
            for _ in range(2)
        )
        self.retina_cls = nn.Conv2d(256, 9 * num_classes, 3, 1, 1)
        self.retina_reg = nn.Conv2d(256, 9 * 4, 3, 1, 1)

    def forward(self, features):
        logits, deltas = [], []
        for level, feature in enumerate(features):
            branches = []
            for stages in (self.cls_convs, self.reg_convs):
                x = feature
                for first, own in zip(stages[0], stages[level], strict=True):
                    x = F.relu_(own.bn(first.conv(x)))
                branches.append(x)
            logits.append(self.retina_cls(branches[0]))
            deltas.append(self.retina_reg(branches[1]))
        return logits, deltas


class RetinaNet(nn.Module):
    """The detector's network.

    `bn`: options of its head's normalizations. `base_scale`: side of the smallest anchor in strides. `box_loss`: a
    function of torch.nn.functional with its options.
    """

    def __init__(self, backbone, neck, bn: dict, base_scale: float, box_loss, box_options: dict, num_classes: int = 80):
        super().__init__()
        self.backbone, self.neck = backbone, neck
        self.bbox_head = Head(num_classes, bn)
        self.base_scale, self.num_classes = base_scale, num_classes
        self.box_loss, self.box_options = box_loss, box_options

    def forward(self, images):
        levels = self.backbone(images)
        return self.bbox_head(levels if self.neck is None else self.neck(levels))


def anchors_of(size: int, base_scale: float) -> torch.Tensor:
    """All anchors [P,4] of a square image: strides 8 to 128, three scales from `base_scale` strides, three ratios."""
    levels = []
    for stride in (8, 16, 32, 64, 128):
        sides = [
            (stride * scale / math.sqrt(ratio), stride * scale * math.sqrt(ratio))
            for ratio in (0.5, 1.0, 2.0)
            for scale in (base_scale * 2 ** (i / 3) for i in range(3))
        ]
        half = torch.tensor(sides) / 2
        steps = torch.arange(math.ceil(size / stride)) * float(stride)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        centres = torch.stack([x, y], -1).reshape(-1, 1, 2)
        levels.append(torch.cat([centres - half, centres + half], -1).reshape(-1, 4))
    return torch.cat(levels)


def assign(anchors: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """For each anchor the index of its object, -1 for background (thresholds .5, and each object's best anchors)."""
    low = torch.maximum(anchors[:, None, :2], boxes[None, :, :2])
    high = torch.minimum(anchors[:, None, 2:], boxes[None, :, 2:])
    common = (high - low).clamp_(min=0).prod(-1)
    areas = [(b[:, 2:] - b[:, :2]).prod(-1) for b in (anchors, boxes)]
    iou = common / (areas[0][:, None] + areas[1][None] - common)
    best, index = iou.max(1)
    assigned = torch.where(best >= 0.5, index, -1)
    for i, top in enumerate(iou.max(0).values):
        if top >= 1e-5:
            assigned[iou[:, i] == top] = i
    return assigned


def encode(anchors: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Deltas [N,4] from anchors to boxes."""
    sizes = [b[:, 2:] - b[:, :2] for b in (anchors, boxes)]
    centres = [(b[:, 2:] + b[:, :2]) / 2 for b in (anchors, boxes)]
    return torch.cat([(centres[1] - centres[0]) / sizes[0], torch.log(sizes[1] / sizes[0])], 1)


def losses(net: RetinaNet, anchors: torch.Tensor, images, boxes: list, labels: list) -> torch.Tensor:
    """Focal loss and box loss of a batch, [2]; boxes [G,4] and labels [G] an image."""
    logits, deltas = net(images)
    logits = torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, net.num_classes) for x in logits], 1)
    deltas = torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, 4) for x in deltas], 1)
    total = torch.zeros(2, device=images.device)
    positives = 0
    for i in range(len(images)):
        assigned = assign(anchors, boxes[i])
        chosen = torch.nonzero(assigned >= 0).squeeze(1)
        objects = assigned[chosen]
        target = torch.zeros_like(logits[i])
        target[chosen, labels[i][objects]] = 1
        probability = torch.sigmoid(logits[i])
        entropy = F.binary_cross_entropy_with_logits(logits[i], target, reduction="none")
        miss = probability + target - 2 * probability * target
        focal = (0.75 - 0.5 * target) * miss.square() * entropy
        expected = encode(anchors[chosen], boxes[i][objects])
        box = net.box_loss(deltas[i][chosen], expected, reduction="sum", **net.box_options)
        total = total + torch.stack([focal.sum(), box])
        positives += len(chosen)
    return total / max(positives, 1)


def detect(logits: list, deltas: list, anchors: torch.Tensor, size: int) -> tuple[torch.Tensor, ...]:
    """Boxes, scores and labels of the first image, as mmdetection's RetinaHead selects them.

    At most 1000 (anchor, class) pairs per level with a score over 0.05, class-wise suppression at IoU 0.5 with
    torchvision's operator, the best 100.
    """
    from torchvision.ops import batched_nms

    candidates, first = [], 0
    for level, delta in zip(logits, deltas, strict=True):
        classes = level.shape[1] // 9
        scores = level[0].permute(1, 2, 0).reshape(-1, classes).sigmoid()
        pairs = torch.nonzero(scores > 0.05)
        values, order = scores[scores > 0.05].sort(descending=True)
        values, pairs = values[:1000], pairs[order[:1000]]
        delta = delta[0].permute(1, 2, 0).reshape(-1, 4)[pairs[:, 0]]
        candidates.append((decode(anchors[first + pairs[:, 0]], delta).clamp(0, size), values, pairs[:, 1]))
        first += len(scores)
    boxes, scores, labels = (torch.cat(part) for part in zip(*candidates, strict=True))
    kept = batched_nms(boxes, scores, labels, 0.5)[:100]
    return boxes[kept], scores[kept], labels[kept]


def decode(anchors: torch.Tensor, deltas: torch.Tensor) -> torch.Tensor:
    """The boxes [N,4] that deltas stand for; sizes change by a factor of at most 62.5."""
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = (anchors[:, 2:] + anchors[:, :2]) / 2 + deltas[:, :2] * sides
    half = sides * deltas[:, 2:].clamp(-4.135, 4.135).exp() / 2
    return torch.cat([centres - half, centres + half], 1)
