"""Checks of the configuration that need more than one key."""

from collections.abc import Iterator

from src.model_utils.config_schema import (
    CascadeMaskRCNNConfig,
    Config,
    MaskRCNNConfig,
    NASFPNRetinaNetConfig,
    RefineDetConfig,
    RetinaNetConfig,
    SpineNetRetinaNetConfig,
)
from src.model_utils.config_schema.resnet import ResNetConfig
from src.model_utils.config_schema.sections import AssignerConfig

SPINENET_ENDPOINT_CHANNELS = {"49S": 128, "49": 256, "96": 256, "143": 256, "190": 512}
SPINENET_LEVEL_STRIDES = [8, 16, 32, 64, 128]
NAS_FPN_LEVELS = 5
REFINEDET_STRIDES = [8, 16, 32, 64]
REFINEDET_STAGES = [1, 2, 3]


def inconsistencies(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong and what would be right) for each contradiction."""
    yield from _class_list(config)
    yield from _training(config)
    if isinstance(config, RetinaNetConfig):
        yield from _retinanet(config)
    if isinstance(config, MaskRCNNConfig):
        yield from _resnet_fpn(config)
        yield from _roi_heads(config)
        yield from _instaboost(config)
    if isinstance(config, CascadeMaskRCNNConfig):
        yield from _cascade(config)
    if isinstance(config, RefineDetConfig):
        yield from _refinedet(config)


def _class_list(config: Config) -> Iterator[tuple[str, str]]:
    names = config.coco_classes
    if names[0] != "background":
        yield "coco_classes", f"starts with '{names[0]}'; the first entry must be 'background'"
        return
    if len(names) != config.num_classes:
        yield (
            "num_classes",
            f"is {config.num_classes}, but coco_classes has {len(names)} names (background included); "
            f"num_classes: {len(names)} would fit",
        )
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        yield "coco_classes", f"names {', '.join(duplicates)} more than once"
    if config.category_ids and len(config.category_ids) != len(names) - 1:
        yield "category_ids", f"has {len(config.category_ids)} ids for {len(names) - 1} classes without background"


def _retinanet(config: RetinaNetConfig) -> Iterator[tuple[str, str]]:
    problems = list(_nas_fpn(config) if isinstance(config, NASFPNRetinaNetConfig) else _spinenet(config))
    yield from problems
    if not problems:
        yield from _dense_head(config, *_levels(config))
    yield from _assigner("train_cfg.assigner", config.train_cfg.assigner)


def _levels(config: RetinaNetConfig) -> tuple[str, int, list[int]]:
    """What gives the head's levels, their channels and their strides."""
    backbone = config.backbone
    if isinstance(config, NASFPNRetinaNetConfig):
        neck = config.neck.nas_fpn
        finest = 4 * 2 ** backbone.out_indices[neck.start_level]
        return "the neck", neck.out_channels, [finest * 2**level for level in range(neck.num_outs)]
    channels = backbone.out_channels or SPINENET_ENDPOINT_CHANNELS[backbone.arch]
    return "the backbone", channels, SPINENET_LEVEL_STRIDES


def _dense_head(
    config: RetinaNetConfig, source: str, channels: int, level_strides: list[int]
) -> Iterator[tuple[str, str]]:
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


def _spinenet(config: SpineNetRetinaNetConfig) -> Iterator[tuple[str, str]]:
    arch = config.backbone.arch
    if arch not in SPINENET_ENDPOINT_CHANNELS:
        yield "backbone.arch", f"is '{arch}'; known are {', '.join(SPINENET_ENDPOINT_CHANNELS)}"


def _nas_fpn(config: NASFPNRetinaNetConfig) -> Iterator[tuple[str, str]]:
    neck = config.neck.nas_fpn
    yield from (problems := list(_resnet(config.backbone)))
    if problems:
        return
    channels = resnet_channels(config.backbone)
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


def _assigner(name: str, assigner: AssignerConfig) -> Iterator[tuple[str, str]]:
    if assigner.neg_iou_thr > assigner.pos_iou_thr:
        yield f"{name}.neg_iou_thr", f"is {assigner.neg_iou_thr}, above pos_iou_thr {assigner.pos_iou_thr}"


def resnet_channels(backbone: ResNetConfig) -> list[int]:
    """Channels of each stage in `out_indices`."""
    expansion = 1 if backbone.depth < 50 else 4
    return [backbone.base_channels * expansion * 2**index for index in backbone.out_indices]


def _resnet(backbone: ResNetConfig) -> Iterator[tuple[str, str]]:
    if backbone.out_indices != sorted(set(backbone.out_indices)) or backbone.out_indices[-1] >= backbone.num_stages:
        yield "backbone.out_indices", f"is {backbone.out_indices}; stages grow from 0 to {backbone.num_stages - 1}"
        return
    if backbone.type == "resnext" and backbone.depth < 50:
        yield "backbone.depth", f"is {backbone.depth}; resnext has bottleneck blocks: 50, 101 or 152"
    if backbone.type == "resnet" and (backbone.groups, backbone.base_width) != (1, 4):
        yield "backbone.groups", "and base_width are keys of resnext; set backbone.type: resnext"
    if backbone.stage_blocks is not None and len(backbone.stage_blocks) != backbone.num_stages:
        yield "backbone.stage_blocks", f"has {len(backbone.stage_blocks)} entries for {backbone.num_stages} stages"


def _resnet_fpn(config: MaskRCNNConfig) -> Iterator[tuple[str, str]]:
    backbone, neck, rpn = config.backbone, config.neck.fpn, config.rpn
    yield from (problems := list(_resnet(backbone)))
    if problems:
        return
    channels = resnet_channels(backbone)
    if neck.in_channels != channels:
        yield "neck.fpn.in_channels", f"is {neck.in_channels}, but the backbone gives {channels}"
    if neck.num_outs < len(channels):
        yield "neck.fpn.num_outs", f"is {neck.num_outs}, below the {len(channels)} levels of the backbone"
    if rpn.in_channels != neck.out_channels:
        yield "rpn.in_channels", f"is {rpn.in_channels}, but the neck gives {neck.out_channels} channels"
    strides = [4 * 2 ** (backbone.out_indices[0] + level) for level in range(neck.num_outs)]
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


def _roi_heads(config: MaskRCNNConfig) -> Iterator[tuple[str, str]]:
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
    yield from _assigner("train_cfg.rpn.assigner", config.train_cfg.rpn.assigner)
    yield from _assigner("train_cfg.rcnn.assigner", config.train_cfg.rcnn.assigner)


def _instaboost(config: MaskRCNNConfig) -> Iterator[tuple[str, str]]:
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


def _cascade(config: CascadeMaskRCNNConfig) -> Iterator[tuple[str, str]]:
    stages = config.cascade.num_stages
    for name in ("stage_loss_weights", "pos_iou_thr", "target_stds"):
        if len(getattr(config.cascade, name)) != stages:
            yield f"cascade.{name}", f"has {len(getattr(config.cascade, name))} entries for {stages} stages"
    if not config.bbox_head.reg_class_agnostic:
        yield "bbox_head.reg_class_agnostic", "must be True: a cascade refines one box for all classes"


def _refinedet(config: RefineDetConfig) -> Iterator[tuple[str, str]]:
    backbone, strides = config.backbone, config.bbox_head.anchor_generator.strides
    if backbone.type == "vgg16":
        if backbone.frozen_stages != -1:
            yield (
                "backbone.frozen_stages",
                f"is {backbone.frozen_stages}, a key of resnet; vgg16 trains as a whole (-1)",
            )
    else:
        yield from _resnet(backbone)
        if backbone.with_bn:
            yield "backbone.with_bn", "is a key of vgg16; a resnet has batch normalization always"
        if backbone.out_indices != REFINEDET_STAGES:
            yield "backbone.out_indices", f"is {backbone.out_indices}; RefineDet reads the stages {REFINEDET_STAGES}"
    if strides != REFINEDET_STRIDES:
        yield "bbox_head.anchor_generator.strides", f"is {strides}, but the levels have {REFINEDET_STRIDES}"
    for name, side in zip(("img_height", "img_width"), config.input_hw, strict=True):
        if side % REFINEDET_STRIDES[-1]:
            yield name, f"gives an input of {side} pixels; the network needs a multiple of 64: set divider: 64"


def _training(config: Config) -> Iterator[tuple[str, str]]:
    if config.min_lr > config.lr:
        yield "min_lr", f"is {config.min_lr}, above lr {config.lr}"
    if config.lr_steps != sorted(config.lr_steps):
        yield "lr_steps", f"is {config.lr_steps}; the epochs must grow"
    ramps = sum(getattr(config, f"warmup_epochs{phase}") for phase in range(1, 6))
    if config.lr_type == "five_phase" and ramps > config.epoch_size:
        yield "epoch_size", f"is {config.epoch_size}, fewer than the {ramps} epochs of warmup_epochs1 to warmup_epochs5"
    yield from _start(config)
    if config.ratio_range[0] > config.ratio_range[1]:
        yield "ratio_range", f"is {config.ratio_range}; the smaller factor comes first"
    if config.rank_id >= config.device_num:
        yield "rank_id", f"is {config.rank_id}, but there are {config.device_num} devices"


def _start(config: Config) -> Iterator[tuple[str, str]]:
    """Where training begins that goes on from `pre_trained`."""
    for name in ("pre_trained_epoch_size", "global_step"):
        if getattr(config, name) and not config.pre_trained and not config.resume:
            yield name, f"is {getattr(config, name)}, but pre_trained is empty: nothing was trained so long"
    if config.pre_trained_epoch_size and config.global_step:
        yield (
            "global_step",
            f"is {config.global_step} and pre_trained_epoch_size {config.pre_trained_epoch_size}: set one",
        )
    if config.pre_trained_epoch_size >= config.epoch_size:
        yield (
            "pre_trained_epoch_size",
            f"is {config.pre_trained_epoch_size}, but the training ends after epoch_size {config.epoch_size}",
        )
