"""Contradictions between the keys of a RetinaNet."""

from collections.abc import Iterator

from src.models.api import Problem
from src.models.backbones.table import spec_of_backbone
from src.models.checks import check_assigner
from src.models.retinanet.config import NASFPNRetinaNetConfig, RetinaNetConfig

NAS_FPN_LEVELS = 5


def check(config: RetinaNetConfig) -> Iterator[Problem]:
    """Yield (key, what is wrong and what would be right)."""
    problems = list(spec_of_backbone(config.backbone).checks(config.backbone))
    if not problems and isinstance(config, NASFPNRetinaNetConfig):
        problems = list(_nas_fpn(config))
    yield from problems
    if not problems:
        yield from _dense_head(config, *_levels(config))
    yield from check_assigner("train_cfg.assigner", config.train_cfg.assigner)


def _levels(config: RetinaNetConfig) -> tuple[str, int, list[int]]:
    """What gives the head's levels, their channels and their strides."""
    backbone = spec_of_backbone(config.backbone)
    if isinstance(config, NASFPNRetinaNetConfig):
        neck = config.neck.nas_fpn
        finest = backbone.strides(config.backbone)[neck.start_level]
        return "the neck", neck.out_channels, [finest * 2**level for level in range(neck.num_outs)]
    return "the backbone", backbone.channels(config.backbone)[0], backbone.strides(config.backbone)


def _dense_head(config: RetinaNetConfig, source: str, channels: int, level_strides: list[int]) -> Iterator[Problem]:
    head = config.bbox_head
    if head.in_channels != channels:
        yield "bbox_head.in_channels", f"is {head.in_channels}, but {source} gives {channels} channels"
    if head.num_ins != len(level_strides):
        yield "bbox_head.num_ins", f"is {head.num_ins}, but {source} gives {len(level_strides)} levels"
    strides = head.anchor_generator.strides
    if len(strides) != head.num_ins:
        yield (
            "bbox_head.anchor_generator.strides",
            f"has {len(strides)} levels, but the head has {head.num_ins} feature maps; {level_strides} would fit",
        )
    elif strides != level_strides:
        yield "bbox_head.anchor_generator.strides", f"is {strides}, but the feature maps have {level_strides}"
    # Nearest upsampling and merging need whole numbers of pixels at every level up to the last stride unless cropped.
    height, width = config.input_hw
    multiple = level_strides[-1]
    for name, side in (("img_height", height), ("img_width", width)):
        if side % multiple:
            right = -(-side // multiple) * multiple
            yield name, f"gives an input of {side} pixels; the network needs a multiple of {multiple}, such as {right}"
    generator = head.anchor_generator
    anchors = generator.scales_per_octave * len(generator.ratios)
    boxes = anchors * sum((height // stride) * (width // stride) for stride in level_strides)
    if config.num_retinanet_boxes not in (0, boxes):
        yield (
            "num_retinanet_boxes",
            f"is {config.num_retinanet_boxes}, but an input of {width} x {height} has {boxes} anchors: {anchors} at"
            f" each place of the strides {level_strides}; num_retinanet_boxes: {boxes} would be right",
        )


def _nas_fpn(config: NASFPNRetinaNetConfig) -> Iterator[Problem]:
    neck = config.neck.nas_fpn
    channels = spec_of_backbone(config.backbone).channels(config.backbone)
    if neck.in_channels != channels:
        yield "neck.nas_fpn.in_channels", f"is {neck.in_channels}, but the backbone gives {channels}"
        return
    if neck.num_outs != NAS_FPN_LEVELS:
        yield "neck.nas_fpn.num_outs", f"is {neck.num_outs}; the cells of NAS-FPN merge {NAS_FPN_LEVELS} levels"
    last = len(channels) - 1
    end = last if neck.end_level == -1 else neck.end_level
    if end > last:
        yield "neck.nas_fpn.end_level", f"is {end}; the backbone gives levels 0 to {last} (-1: the last)"
    elif end < last and end - neck.start_level + 1 != neck.num_outs:
        yield "neck.nas_fpn.end_level", f"is {end}; further levels are made of the backbone's last one: -1 or {last}"
    if neck.start_level > end:
        yield "neck.nas_fpn.start_level", f"is {neck.start_level}, above the last level {end}"
