"""Contradictions between the keys of a RefineDet."""

from collections.abc import Iterator

from src.models.api import Problem
from src.models.backbones.resnet import ResNetConfig
from src.models.backbones.table import spec_of_backbone
from src.models.refinedet.config import RefineDetBackboneConfig, RefineDetConfig
from src.schema.sections import BackboneConfig

STRIDES = [8, 16, 32, 64]
RESNET_STAGES = [1, 2, 3]


def check(config: RefineDetConfig) -> Iterator[Problem]:
    """Yield (key, what is wrong and what would be right)."""
    strides = config.bbox_head.anchor_generator.strides
    yield from _backbone(config)
    if strides != STRIDES:
        yield "bbox_head.anchor_generator.strides", f"is {strides}, but the levels have {STRIDES}"
    for name, side in zip(("img_height", "img_width"), config.input_hw, strict=True):
        if side % STRIDES[-1]:
            yield name, f"gives an input of {side} pixels; the network needs a multiple of 64: set divider: 64"


def _backbone(config: RefineDetConfig) -> Iterator[Problem]:
    backbone: BackboneConfig = config.backbone  # of the published section, or of another backbone's own
    if backbone.type == "vgg16":
        if backbone.frozen != -1:
            yield "backbone.frozen_stages", f"is {backbone.frozen}, a key of resnet; vgg16 trains as a whole (-1)"
        return
    yield from spec_of_backbone(backbone).checks(backbone)
    if isinstance(backbone, RefineDetBackboneConfig) and backbone.with_bn:
        yield "backbone.with_bn", "is a key of vgg16; a resnet has batch normalization always"
    if isinstance(backbone, ResNetConfig):
        if backbone.out_indices != RESNET_STAGES:
            yield "backbone.out_indices", f"is {backbone.out_indices}; RefineDet reads the stages {RESNET_STAGES}"
    elif (found := spec_of_backbone(backbone).strides(backbone)) != STRIDES[:-1]:
        yield "backbone.type", f"{backbone.type} gives strides {found}; RefineDet reads {STRIDES[:-1]}"
