"""Checks of the configuration that need more than one key."""

from collections.abc import Iterator

from src.model_utils.config_schema import Config

SPINENET_ENDPOINT_CHANNELS = {"49S": 128, "49": 256, "96": 256, "143": 256, "190": 512}
SPINENET_LEVEL_STRIDES = [8, 16, 32, 64, 128]


def inconsistencies(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong and what would be right) for each contradiction."""
    yield from _class_list(config)
    yield from _network(config)
    yield from _training(config)


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


def _network(config: Config) -> Iterator[tuple[str, str]]:
    arch, head = config.backbone.arch, config.bbox_head
    if arch not in SPINENET_ENDPOINT_CHANNELS:
        yield "backbone.arch", f"is '{arch}'; known are {', '.join(SPINENET_ENDPOINT_CHANNELS)}"
        return
    channels = config.backbone.out_channels or SPINENET_ENDPOINT_CHANNELS[arch]
    if head.in_channels != channels:
        yield "bbox_head.in_channels", f"is {head.in_channels}, but the backbone gives {channels} channels"
    if head.num_ins != len(SPINENET_LEVEL_STRIDES):
        yield "bbox_head.num_ins", f"is {head.num_ins}, but the backbone gives {len(SPINENET_LEVEL_STRIDES)} levels"
    strides = head.anchor_generator.strides
    if len(strides) != head.num_ins:
        yield (
            "bbox_head.anchor_generator.strides",
            f"has {len(strides)} levels, but the head has {head.num_ins} feature maps; "
            f"{SPINENET_LEVEL_STRIDES} would fit",
        )
    elif strides != SPINENET_LEVEL_STRIDES:
        yield (
            "bbox_head.anchor_generator.strides",
            f"is {strides}, but the feature maps have {SPINENET_LEVEL_STRIDES}",
        )
    # Nearest upsampling and merging need whole numbers of pixels at every level up to stride 128 unless cropped.
    for name, side in zip(("img_height", "img_width"), config.input_hw, strict=True):
        if side % SPINENET_LEVEL_STRIDES[-1]:
            right = -(-side // SPINENET_LEVEL_STRIDES[-1]) * SPINENET_LEVEL_STRIDES[-1]
            yield name, f"gives an input of {side} pixels; the network needs a multiple of 128, such as {right}"


def _training(config: Config) -> Iterator[tuple[str, str]]:
    assigner = config.train_cfg.assigner
    if assigner.neg_iou_thr > assigner.pos_iou_thr:
        yield (
            "train_cfg.assigner.neg_iou_thr",
            f"is {assigner.neg_iou_thr}, above pos_iou_thr {assigner.pos_iou_thr}",
        )
    if config.min_lr > config.lr:
        yield "min_lr", f"is {config.min_lr}, above lr {config.lr}"
    if config.lr_steps != sorted(config.lr_steps):
        yield "lr_steps", f"is {config.lr_steps}; the epochs must grow"
    if config.ratio_range[0] > config.ratio_range[1]:
        yield "ratio_range", f"is {config.ratio_range}; the smaller factor comes first"
    if config.rank_id >= config.device_num:
        yield "rank_id", f"is {config.rank_id}, but there are {config.device_num} devices"
