"""RetinaNet on ResNet-50 with seven NAS-FPN cells in PyTorch: the peer of nas_fpn_speed.py.

The same network from the papers' tables, with the same parameter names.
"""

from torch import nn
from torch.nn import functional as F
from torch_retinanet import RetinaNet

BN = {"eps": 1e-5, "momentum": 0.1}
BASE_SCALE = 4  # side of the smallest anchor in strides
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # planes, blocks
CHANNELS = 256
# Name and kind of each merge, the two inputs, the level whose size the result has, the name it gets; p4_1 and the like
# are inner maps (Ghiasi et al. 2019, figure 6).
MERGES = (
    "gp_64_4 p6 p4 p4 inner", "sum_44_4 inner p4 p4 inner", "sum_43_3 inner p3 p3 p3", "sum_34_4 p3 inner p4 p4",
    "gp_43_5 p4 p3 p5 high", "sum_55_5 p5 high p5 p5", "gp_54_7 p5 inner p7 high", "sum_77_7 p7 high p7 p7",
    "gp_75_6 p7 p5 p6 p6",
)  # fmt: skip
WITHOUT_CONV = ("gp_43_5", "gp_54_7")


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, planes: int, stride: int):
        super().__init__()
        for i, (before, after, kernel) in enumerate(
            ((channels_in, planes, 1), (planes, planes, 3), (planes, 4 * planes, 1))
        ):
            step = stride if i == 1 else 1
            self.add_module(f"conv{i + 1}", nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(after, **BN))
        self.downsample = None
        if channels_in != 4 * planes:
            conv = nn.Conv2d(channels_in, 4 * planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(4 * planes, **BN))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return F.relu_(self.bn3(self.conv3(x)) + shortcut)


class ResNet50(nn.Module):
    """Images [B,3,H,W] to feature maps at strides 8, 16 and 32."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64, **BN)
        channels = 64
        for i, (planes, blocks) in enumerate(STAGES):
            cells = []
            for block in range(blocks):
                cells.append(Bottleneck(channels, planes, 2 if i and block == 0 else 1))
                channels = 4 * planes
            self.add_module(f"layer{i + 1}", nn.Sequential(*cells))

    def forward(self, x):
        x = self.layer1(F.max_pool2d(F.relu_(self.bn1(self.conv1(x))), 3, 2, 1))
        outputs = []
        for stage in (self.layer2, self.layer3, self.layer4):
            x = stage(x)
            outputs.append(x)
        return outputs


class ConvBN(nn.Module):
    """Convolution and batch normalization."""

    def __init__(self, channels_in: int, kernel: int, bias: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, CHANNELS, kernel, 1, kernel // 2, bias=bias)
        self.bn = nn.BatchNorm2d(CHANNELS, **BN)

    def forward(self, x):
        return self.bn(self.conv(x))


class Merge(nn.Module):
    """Two maps at the size of a third, added or weighed by attention, then ReLU, convolution, normalization."""

    def __init__(self, kind: str):
        super().__init__()
        self.attention = kind.startswith("gp")
        if kind not in WITHOUT_CONV:
            self.out_conv = ConvBN(CHANNELS, 3, bias=True)

    def forward(self, first, second, size):
        first, second = resized(first, size), resized(second, size)
        if self.attention:
            first = F.adaptive_avg_pool2d(second, 1).sigmoid() * first
        merged = first + second
        return self.out_conv(F.relu_(merged)) if hasattr(self, "out_conv") else merged


def resized(x, size):
    """Nearest neighbours up, maxima down."""
    if x.shape[2:] == size:
        return x
    if x.shape[2] < size[0]:
        return F.interpolate(x, size, mode="nearest")
    return F.max_pool2d(x, x.shape[2] // size[0])


class NASFPN(nn.Module):
    """Feature maps to five levels of 256 channels."""

    def __init__(self, cells: int = 7):
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvBN(channels, 1, bias=False) for channels in (512, 1024, 2048))
        self.extra_downsamples = nn.ModuleList(nn.ModuleList([ConvBN(CHANNELS, 1, bias=False)]) for _ in range(2))
        names = [merge.split()[0] for merge in MERGES]
        self.fpn_stages = nn.ModuleList(nn.ModuleDict({name: Merge(name) for name in names}) for _ in range(cells))

    def forward(self, features):
        levels = [conv(x) for conv, x in zip(self.lateral_convs, features, strict=True)]
        for conv in self.extra_downsamples:
            levels.append(F.max_pool2d(conv[0](levels[-1]), 2))
        maps = dict(zip(("p3", "p4", "p5", "p6", "p7"), levels, strict=True))
        for stage in self.fpn_stages:
            for merge in MERGES:
                name, first, second, size, result = merge.split()
                maps[result] = stage[name](maps[first], maps[second], maps[size].shape[2:])
        return [maps[f"p{level}"] for level in range(3, 8)]


def detector() -> RetinaNet:
    """RetinaNet on ResNet-50 with NAS-FPN for 80 classes."""
    return RetinaNet(ResNet50(), NASFPN(), BN, BASE_SCALE, F.l1_loss, {})
