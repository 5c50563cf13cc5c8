"""VGG-16 in configurations, and the weights of ImageNet VGG-16s under this project's names."""

import re
from typing import TYPE_CHECKING, Literal

import numpy as np

from src.blocks.architectures import VGG16_FC_FACTOR, VGG16_GROUPS
from src.models.api import PublishedFormat
from src.models.backbones.spec import BackboneSpec
from src.schema.sections import BackboneConfig, Channels, NormConfig, key

if TYPE_CHECKING:
    from mindspore import nn

FC6, FC7 = "classifier.0.weight", "classifier.3.weight"
REDUCED = re.compile(r"\d+\.(weight|bias)")  # vgg16_reducedfc.pth numbers the layers and has fc6 and fc7 decimated
FC_STEP = 4
FC6_SIDE, FC6_STEP = 7, 3
NEW_NORM = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}


class VGG16Config(BackboneConfig):
    """Keys of VGG-16."""

    type: Literal["vgg16"] = key("vgg16", "backbone type")
    base_channels: Channels = key(64, "channels of the first group; all layers scale with it")
    with_bn: bool = key(False, "batch normalization after each convolution (the published one has none)")
    norm_cfg: NormConfig = key(NormConfig(momentum=0.1, eps=1e-5), "batch normalization of the backbone")

    @property
    def needs_pretraining(self) -> bool:
        """See `BackboneConfig`."""
        return not self.with_bn


def channels_of(section: VGG16Config) -> list[int]:
    """Channels of conv4_3, conv5_3 and fc7."""
    factors = (VGG16_GROUPS[-2][1], VGG16_GROUPS[-1][1], VGG16_FC_FACTOR)
    return [factor * section.base_channels for factor in factors]


def strides_of(section: VGG16Config) -> list[int]:
    """Strides of conv4_3, conv5_3 and fc7."""
    return [8, 16, 32]


def build(section: VGG16Config) -> "nn.Cell":
    """The network."""
    from src.blocks.backbones import VGG16
    from src.models.config_values import norm_of

    return VGG16(base_channels=section.base_channels, norm=norm_of(section.norm_cfg) if section.with_bn else None)


def is_classifier(arrays: dict[str, np.ndarray]) -> bool:
    """Whether these are weights of a VGG-16 of torchvision or mindcv, or of the port's vgg16_reducedfc.pth."""
    if all(name in arrays for name in (FC6, FC7, "features.0.weight")):
        return arrays[FC6].ndim == 2 and arrays[FC6].shape[1] % FC6_SIDE**2 == 0
    return bool(arrays) and all(REDUCED.fullmatch(name) for name in arrays)


def from_classifier(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights of an ImageNet VGG-16 as those of the backbone `VGG16`, with `backbone.` before their names.

    The fully connected fc6 (over 7x7 pixels) and fc7 become convolutions with a fourth of the outputs: every fourth
    output and every third row and column are kept (Liu et al. 2016, section 3.1). Their batch normalizations, which the
    classifier does not have, start as new ones. mindcv's convolutions have no biases; here these are zeros.
    """
    if FC6 not in arrays:
        return {f"backbone.features.{name}": array for name, array in arrays.items()}
    renamed = {f"backbone.{name}": array for name, array in arrays.items() if name.startswith("features.")}
    for name, kernel in list(renamed.items()):
        if kernel.ndim == 4:
            renamed.setdefault(name.replace(".weight", ".bias"), np.zeros(len(kernel), np.float32))
    with_bn = any(name.endswith("running_mean") for name in renamed)
    outputs = len(arrays[FC6])
    fc6 = arrays[FC6].reshape(outputs, -1, FC6_SIDE, FC6_SIDE)[::FC_STEP, :, ::FC6_STEP, ::FC6_STEP]
    fc7 = arrays[FC7][::FC_STEP, ::FC_STEP, None, None]
    place = 3 + max(int(name.split(".")[2]) for name in renamed)  # after an activation and a pool
    for kernel, bias in ((fc6, arrays["classifier.0.bias"]), (fc7, arrays["classifier.3.bias"])):
        renamed[f"backbone.features.{place}.weight"] = np.ascontiguousarray(kernel)
        renamed[f"backbone.features.{place}.bias"] = bias[::FC_STEP].copy()
        if with_bn:
            place += 1
            for leaf, value in NEW_NORM.items():
                renamed[f"backbone.features.{place}.{leaf}"] = np.full(len(kernel), value, np.float32)
        place += 2
    return renamed


CLASSIFIER = PublishedFormat(
    matches=is_classifier,
    convert=lambda arrays, config: from_classifier(arrays),
    backbone=lambda arrays, eps: from_classifier(arrays),
)
VGG16 = BackboneSpec(VGG16Config, build, channels_of, strides_of, "reduced", published_weights=(CLASSIFIER,))
