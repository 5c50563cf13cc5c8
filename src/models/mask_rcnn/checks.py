"""Contradictions between the keys of a Mask R-CNN or Cascade Mask R-CNN."""

from collections.abc import Iterator

from src.models.api import Problem
from src.models.backbones.table import spec_of_backbone
from src.models.checks import check_assigner
from src.models.mask_rcnn.config import CascadeMaskRCNNConfig, MaskRCNNConfig


def check(config: MaskRCNNConfig) -> Iterator[Problem]:
    """Yield (key, what is wrong and what would be right)."""
    yield from _levels(config)
    yield from _roi_heads(config)
    yield from _instaboost(config)
    if isinstance(config, CascadeMaskRCNNConfig):
        yield from _cascade(config)


def _levels(config: MaskRCNNConfig) -> Iterator[Problem]:
    backbone, neck, rpn = config.backbone, config.neck.fpn, config.rpn
    spec = spec_of_backbone(backbone)
    yield from (problems := list(spec.checks(backbone)))
    if problems:
        return
    channels = spec.channels(backbone)
    if neck.in_channels != channels:
        yield "neck.fpn.in_channels", f"is {neck.in_channels}, but the backbone gives {channels}"
    if neck.num_outs < len(channels):
        yield "neck.fpn.num_outs", f"is {neck.num_outs}, below the {len(channels)} levels of the backbone"
    if rpn.in_channels != neck.out_channels:
        yield "rpn.in_channels", f"is {rpn.in_channels}, but the neck gives {neck.out_channels} channels"
    strides = [spec.strides(backbone)[0] * 2**level for level in range(neck.num_outs)]
    if rpn.anchor_generator.strides != strides:
        yield "rpn.anchor_generator.strides", f"is {rpn.anchor_generator.strides}, but the levels have {strides}"
    for name in ("roi", "mask_roi"):
        found = getattr(config, name).featmap_strides
        if found != strides[: len(found)]:
            yield f"{name}.featmap_strides", f"is {found}, but the levels have {strides}"
        if getattr(config, name).out_channels != neck.out_channels:
            yield f"{name}.out_channels", f"is {getattr(config, name).out_channels}, the neck gives {neck.out_channels}"
    for name, side in zip(("img_height", "img_width"), config.input_hw, strict=True):
        if side % 32:
            yield name, f"gives an input of {side} pixels; the network needs a multiple of 32: set divider: 32 or 64"


def _roi_heads(config: MaskRCNNConfig) -> Iterator[Problem]:
    for name in ("bbox_head", "mask_head"):
        found = getattr(config, name).in_channels
        if found != config.neck.fpn.out_channels:
            yield f"{name}.in_channels", f"is {found}, but the neck gives {config.neck.fpn.out_channels} channels"
    pooled = config.roi.roi_layer.out_size
    if config.bbox_head.roi_feat_size != pooled:
        yield "bbox_head.roi_feat_size", f"is {config.bbox_head.roi_feat_size}, but roi.roi_layer.out_size is {pooled}"
    mask_side = 2 * config.mask_roi.roi_layer.out_size
    if config.train_cfg.rcnn.mask_size != mask_side:
        yield (
            "train_cfg.rcnn.mask_size",
            f"is {config.train_cfg.rcnn.mask_size}, but the mask head gives {mask_side}: twice mask_roi's out_size",
        )
    sampler = config.train_cfg.rcnn.sampler
    if config.roi.sample_num < sampler.num:
        yield "roi.sample_num", f"is {config.roi.sample_num}, below train_cfg.rcnn.sampler.num {sampler.num}"
    yield from check_assigner("train_cfg.rpn.assigner", config.train_cfg.rpn.assigner)
    yield from check_assigner("train_cfg.rcnn.assigner", config.train_cfg.rcnn.assigner)


def _instaboost(config: MaskRCNNConfig) -> Iterator[Problem]:
    if len(config.action_prob) != len(config.action_candidate):
        yield "action_prob", f"has {len(config.action_prob)} entries for {len(config.action_candidate)} candidates"
    elif abs(sum(config.action_prob) - 1) > 1e-6:
        yield "action_prob", f"is {config.action_prob}; the probabilities must add up to 1"
    for name in ("scale", "theta"):
        low, high = getattr(config, name)
        if low > high:
            yield name, f"is {[low, high]}; the smaller one comes first"
    if config.scale[0] <= 0:
        yield "scale", f"is {config.scale}; factors are positive"


def _cascade(config: CascadeMaskRCNNConfig) -> Iterator[Problem]:
    stages = config.cascade.num_stages
    for name in ("stage_loss_weights", "pos_iou_thr", "target_stds"):
        if len(getattr(config.cascade, name)) != stages:
            yield f"cascade.{name}", f"has {len(getattr(config.cascade, name))} entries for {stages} stages"
    if not config.bbox_head.reg_class_agnostic:
        yield "bbox_head.reg_class_agnostic", "must be True: a cascade refines one box for all classes"
