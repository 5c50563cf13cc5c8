"""SpineNet-RetinaNet in PyTorch: the peer of spinenet_speed.py, which runs it with a Python that has torch.

The same network from the paper's block table, with the same parameter names, the operators PyTorch users would take
(interpolate, max_pool2d, binary_cross_entropy_with_logits), and the same saving of work: the last convolution of an
upwards resampling comes before the repetition.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

LEVEL_FILTERS = {2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}
# level, B(ottleneck) or R(esidual), the two inputs, * for an output (Du et al. 2020, table 1)
BLOCKS = (
    "2B 0 1", "4R 0 1", "3B 2 3", "4B 2 4", "6R 3 5", "4B 3 5", "5R 6 7", "7R 6 8", "5B 8 9", "5B 8 10",
    "4B 5 10 *", "3B 4 10 *", "5B 7 12 *", "7B 5 14 *", "6B 12 14 *",
)  # fmt: skip
ALPHA = 0.5
BN = {"eps": 1e-3, "momentum": 0.01}


class ConvBN(nn.Module):
    """Convolution and batch normalization."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels, **BN)

    def forward(self, x):
        return self.bn(self.conv(x))


class Block(nn.Module):
    """A residual block: kernels [3, 3] (residual) or [1, 3, 1] (bottleneck)."""

    def __init__(self, channels_in: int, planes: int, bottleneck: bool):
        super().__init__()
        channels = planes * 4 if bottleneck else planes
        shapes = [(channels_in, planes, 1), (planes, planes, 3), (planes, channels, 1)]
        if not bottleneck:
            shapes = [(channels_in, planes, 3), (planes, planes, 3)]
        self.depth = len(shapes)
        for i, (before, after, kernel) in enumerate(shapes, start=1):
            self.add_module(f"conv{i}", nn.Conv2d(before, after, kernel, 1, kernel // 2, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(after, **BN))
        self.downsample = None
        if channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels, **BN)
            )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.depth + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            if i < self.depth:
                x = F.relu_(x)
        return F.relu_(x + shortcut)


class Resample(nn.Module):
    """One block's output at another block's level and channels."""

    def __init__(self, planes: int, channels_in: int, channels: int, shift: int):
        super().__init__()
        middle = int(planes * ALPHA)
        self.shift = shift
        self.squeeze_conv = ConvBN(channels_in, middle, 1)
        self.downsample_conv = ConvBN(middle, middle, 3, 2) if shift > 0 else None
        self.expand_conv = ConvBN(middle, channels, 1)

    def forward(self, x):
        x = F.relu_(self.squeeze_conv(x))
        if self.downsample_conv is not None:
            x = F.relu_(self.downsample_conv(x))
            if self.shift > 1:
                stride = 2 ** (self.shift - 1)
                x = F.max_pool2d(x, stride + 1, stride, (stride + 1) // 2)
        x = self.expand_conv(x)
        return F.interpolate(x, scale_factor=2**-self.shift, mode="nearest") if self.shift < 0 else x


class Merge(nn.Module):
    """Two resamplings."""

    def __init__(self, *resample_ops: Resample):
        super().__init__()
        self.resample_ops = nn.ModuleList(resample_ops)


class SpineNet49(nn.Module):
    """SpineNet-49: images [B,3,H,W] to five levels of 256 channels."""

    def __init__(self):
        super().__init__()
        self.conv1 = ConvBN(3, 64, 7, 2)
        self.init_block1 = nn.Sequential(Block(64, 64, True))
        self.init_block2 = nn.Sequential(Block(256, 64, True))
        self.merge_ops, self.scale_permuted_blocks = nn.ModuleList(), nn.ModuleList()
        self.endpoint_convs = nn.ModuleDict()
        self.plan = []
        nodes = [(2, 64, 256), (2, 64, 256)]  # level, planes, channels
        readers = [0, 0]
        for text in BLOCKS:
            kind, *inputs = text.split()
            level, bottleneck = int(kind[0]), kind[1] == "B"
            planes = LEVEL_FILTERS[level]
            channels = planes * 4 if bottleneck else planes
            sources = [int(i) for i in inputs[:2]]
            for i in sources:
                readers[i] += 1
            extra = []
            if inputs[-1] == "*":
                extra = [
                    i for i, n in enumerate(nodes) if readers[i] == 0 and (n[0], n[2]) == (level, channels)
                ]  # fmt: skip
                for i in extra:
                    readers[i] += 1
                self.endpoint_convs[str(level)] = ConvBN(channels, 256, 1)
            self.merge_ops.append(
                Merge(*(Resample(nodes[i][1], nodes[i][2], channels, level - nodes[i][0]) for i in sources))
            )
            self.scale_permuted_blocks.append(nn.Sequential(Block(channels, planes, bottleneck)))
            self.plan.append((sources, extra, str(level) if inputs[-1] == "*" else None))
            nodes.append((level, planes, channels))
            readers.append(0)

    def forward(self, x):
        x = F.max_pool2d(F.relu_(self.conv1(x)), 3, 2, 1)
        x = self.init_block1(x)
        features, outputs = [x, self.init_block2(x)], {}
        for (sources, extra, output), merge, block in zip(
            self.plan, self.merge_ops, self.scale_permuted_blocks, strict=True
        ):
            x = merge.resample_ops[0](features[sources[0]]) + merge.resample_ops[1](features[sources[1]])
            for i in extra:
                x = x + features[i]
            x = block(F.relu(x))
            features.append(x)
            if output:
                outputs[output] = self.endpoint_convs[output](x)
        return [outputs[key] for key in "34567"]


class Stage(nn.Module):
    """A convolution (of the first level, shared by all) and the normalization of one level."""

    def __init__(self, has_conv: bool):
        super().__init__()
        if has_conv:
            self.conv = nn.Conv2d(256, 256, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(256, **BN)


class Head(nn.Module):
    """Class logits and box deltas of each level."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.cls_convs, self.reg_convs = (
            nn.ModuleList(nn.ModuleList(Stage(level == 0) for _ in range(4)) for level in range(5)) for _ in range(2)
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
    """The detector's network."""

    def __init__(self, num_classes: int = 80):
        super().__init__()
        self.backbone = SpineNet49()
        self.bbox_head = Head(num_classes)
        self.num_classes = num_classes

    def forward(self, images):
        return self.bbox_head(self.backbone(images))


def anchors_of(size: int) -> torch.Tensor:
    """All anchors [P,4] of a square image: strides 8 to 128, three scales from 3 strides, three ratios."""
    levels = []
    for stride in (8, 16, 32, 64, 128):
        sides = [
            (stride * scale / math.sqrt(ratio), stride * scale * math.sqrt(ratio))
            for ratio in (0.5, 1.0, 2.0)
            for scale in (3 * 2 ** (i / 3) for i in range(3))
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
    """Focal loss and smooth L1 of a batch, [2]; boxes [G,4] and labels [G] an image."""
    logits, deltas = net(images)
    logits = torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, net.num_classes) for x in logits], 1)
    deltas = torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, 4) for x in deltas], 1)
    total = torch.zeros(2)
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
        box = F.smooth_l1_loss(deltas[i][chosen], expected, beta=0.11, reduction="sum")
        total = total + torch.stack([focal.sum(), box])
        positives += len(chosen)
    return total / max(positives, 1)
