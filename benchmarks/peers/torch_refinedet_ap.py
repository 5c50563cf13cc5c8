"""RefineDet on a ResNet of basic blocks in PyTorch, from images to COCO results: the peer of trained_weights_ap.py.

Network, anchors, preparation of images, decoding, suppression and the way back to the original pixels are written for
this file and its neighbours or are torchvision's; from the other side come the weights and the numbers of its
configuration. A second result is made of the inputs that the other side prepared.
Arguments: settings.json, weights.npz, inputs.npy [images,3,H,W], and the two results to write.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch_images import load, results, to_original
from torch_refinedet import RefineDet, Rules, detect
from torch_worker import load_weights
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import nms

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
IMAGE_SETTINGS = ("size_hw", "frame_hw", "keep_ratio", "mean", "std")


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """The stages at 1/8, 1/16 and 1/32 of the image."""

    def __init__(self, depth: int, width: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        inputs = width
        for i, count in enumerate(BLOCKS[depth]):
            planes, stride = width * 2**i, 1 if i == 0 else 2
            first = BasicBlock(inputs, planes, stride, shortcut(inputs, planes, stride) if i else None)
            rest = [BasicBlock(planes, planes) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(first, *rest))
            inputs = planes

    def forward(self, x):
        x = self.layer1(F.max_pool2d(F.relu_(self.bn1(self.conv1(x))), 3, 2, 1))
        c3 = self.layer2(x)
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)


class ResNetLevels(nn.Module):
    """The ARM's four levels on a ResNet: one more bottleneck of stride 2."""

    def __init__(self, inputs: int):
        super().__init__()
        planes = inputs // 16
        self.layer5 = Bottleneck(inputs, planes, 2, shortcut(inputs, 4 * planes, 2))

    def forward(self, features):
        return *features, self.layer5(features[-1])


def anchors_of(settings: dict) -> torch.Tensor:
    """All anchors [P,4] by centre and size: in the middle of their cells, no side longer than the image's."""
    height, width = settings["frame_hw"]
    rows = []
    for stride in settings["strides"]:
        for y in range(math.ceil(height / stride)):
            for x in range(math.ceil(width / stride)):
                for ratio in settings["ratios"]:
                    for scale in settings["scales"]:
                        side, stretch = stride * scale, math.sqrt(ratio)
                        sides = min(side / stretch, width), min(side * stretch, height)
                        rows.append(((x + 0.5) * stride, (y + 0.5) * stride, *sides))
    return torch.tensor(rows)


def main() -> None:
    settings_file, weights, inputs, *targets = (Path(argument) for argument in sys.argv[1:6])
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    torch.set_num_threads(settings["threads"])
    width = settings["base_channels"]
    widths = [2 * width, 4 * width, 8 * width, 2 * width]
    backbone, levels = ResNet(settings["depth"], width), ResNetLevels(8 * width)
    outputs = len(settings["category_ids"]) + 1
    net = RefineDet(backbone, levels, widths, outputs, settings["neck_channels"], settings["neck_bn"])
    load_weights(net, str(weights))
    net.eval()
    anchors, rules = anchors_of(settings), Rules(**settings["rules"])
    found = [], []
    for (image_id, path), theirs in zip(settings["images"], np.load(inputs, mmap_mode="r"), strict=True):
        own, resized_hw, original_hw = load(Path(path), *(settings[name] for name in IMAGE_SETTINGS))
        for pixels, collected in zip((own, torch.from_numpy(theirs.copy())), found, strict=True):
            with torch.inference_mode():
                rows = detect(net(pixels[None]), anchors, nms, rules)
            labels, scores, boxes = rows[:, 0].long(), rows[:, 1], rows[:, 2:]
            boxes = to_original(boxes, resized_hw, original_hw)
            collected += results(image_id, boxes, scores, [settings["category_ids"][k] for k in labels.tolist()])
    for target, collected in zip(targets, found, strict=True):
        target.write_text(json.dumps(collected), encoding="utf-8")


if __name__ == "__main__":
    main()
