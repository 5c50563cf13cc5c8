"""SpineNet-49-RetinaNet in PyTorch: the peer of spinenet_speed.py.

The same network from the paper's block table, with the same parameter names, the operators PyTorch users would take
(interpolate, max_pool2d), and the same saving of work: the last convolution of an upwards resampling comes before the
repetition.
"""

from torch import nn
from torch.nn import functional as F
from torch_retinanet import RetinaNet

LEVEL_FILTERS = {2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}
# level, B(ottleneck) or R(esidual), the two inputs, * for an output (Du et al. 2020, table 1)
BLOCKS = (
    "2B 0 1", "4R 0 1", "3B 2 3", "4B 2 4", "6R 3 5", "4B 3 5", "5R 6 7", "7R 6 8", "5B 8 9", "5B 8 10",
    "4B 5 10 *", "3B 4 10 *", "5B 7 12 *", "7B 5 14 *", "6B 12 14 *",
)  # fmt: skip
ALPHA = 0.5
BN = {"eps": 1e-3, "momentum": 0.01}
BASE_SCALE = 3  # side of the smallest anchor in strides


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


def detector() -> RetinaNet:
    """RetinaNet on SpineNet-49 for 80 classes."""
    return RetinaNet(SpineNet49(), None, BN, BASE_SCALE, F.smooth_l1_loss, {"beta": 0.11})
