"""Checks of the configuration that need more than one key."""

from collections import Counter
from collections.abc import Iterator

from src.data.formats.table import FORMATS
from src.models.api import Problem
from src.models.table import spec_of
from src.schema import Config
from src.schema.statistics import AUTO_METRIC, CLASS_STATISTICS, COCO_STATISTICS, VALIDATION_LOSS, VOC_STATISTICS


def inconsistencies(config: Config) -> Iterator[Problem]:
    """Yield (key, what is wrong and what would be right) for each contradiction."""
    if config.dataset not in FORMATS:
        yield "dataset", f"is {config.dataset!r}; known are {', '.join(FORMATS)}"
    yield from _class_list(config)
    yield from _training(config)
    yield from _frame(config)
    yield from spec_of(config).checks(config)


def _class_list(config: Config) -> Iterator[Problem]:
    names = config.coco_classes
    if len(names) < 2:
        yield "coco_classes", f"is {names}; it has 'background' and the names of the classes"
        return
    if names[0] != "background":
        yield "coco_classes", f"starts with '{names[0]}'; the first entry must be 'background'"
        return
    if len(names) != config.num_classes:
        yield (
            "num_classes",
            f"is {config.num_classes}, but coco_classes has {len(names)} names (background included); "
            f"num_classes: {len(names)} would fit",
        )
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    if duplicates:
        yield "coco_classes", f"names {', '.join(duplicates)} more than once"
    if config.category_ids and len(config.category_ids) != len(names) - 1:
        yield "category_ids", f"has {len(config.category_ids)} ids for {len(names) - 1} classes without background"


def _training(config: Config) -> Iterator[Problem]:
    if config.min_lr > config.lr:
        yield "min_lr", f"is {config.min_lr}, above lr {config.lr}"
    if config.auto_scale_lr and not config.base_batch_size:
        yield "auto_scale_lr", "needs base_batch_size, the images per step that lr was set for"
    if config.patience and not config.run_eval:
        yield "patience", "counts evaluations, and run_eval is 0"
    if config.val_loss and not config.run_eval:
        yield "val_loss", "is part of evaluations, and run_eval is 0"
    yield from _main_metric(config)
    if not config.scale_min <= config.scale_start <= config.scale_max:
        yield (
            "scale_start",
            f"is {config.scale_start:g}; it lies from scale_min {config.scale_min:g} to scale_max {config.scale_max:g}",
        )
    if config.lr_steps != sorted(config.lr_steps):
        yield "lr_steps", f"is {config.lr_steps}; the epochs must grow"
    ramps = sum(config.warmup_epochs)
    if config.lr_type == "five_phase" and ramps > config.epoch_size:
        yield "epoch_size", f"is {config.epoch_size}, fewer than the {ramps} epochs of warmup_epochs1 to warmup_epochs5"
    yield from _start(config)
    yield from _sunk_steps(config)
    yield from _compiled_steps(config)
    if config.ratio_range[0] > config.ratio_range[1]:
        yield "ratio_range", f"is {config.ratio_range}; the smaller factor comes first"
    if config.rank_id >= config.device_num:
        yield "rank_id", f"is {config.rank_id}, but there are {config.device_num} devices"


def _sunk_steps(config: Config) -> Iterator[Problem]:
    """What steps cannot do that are sunk to the device."""
    if not config.datasink:
        return
    if config.accumulate_step > 1:
        yield "datasink", "is 1, which takes one batch per update: accumulate_step: 1 or datasink: 0"
    if config.loss_scale == "dynamic":
        yield "datasink", "is 1, which does not follow loss_scale dynamic: give it a number, or datasink: 0"
    if config.jit_level == "O2":
        yield "datasink", "is 1, which was not made for jit_level O2: jit_level: O1 or datasink: 0"
    if len(config.input_shapes) > 1:
        yield "datasink", "is 1, which takes images of one shape: turn_frame: False or datasink: 0"
    if config.mode != "graph":
        yield "datasink", f"is 1, which needs a compiled step, and mode is {config.mode}: mode: graph or datasink: 0"


def _compiled_steps(config: Config) -> Iterator[Problem]:
    """What only compiled graphs can do."""
    if config.mode == "graph":
        return
    if config.jit_level:
        yield (
            "jit_level",
            f"is {config.jit_level}, which is for compiled graphs, and mode is {config.mode}: mode: graph",
        )
    if config.recompute:
        yield "recompute", f"is 1, which needs a compiled step, and mode is {config.mode}: mode: graph or recompute: 0"


def _main_metric(config: Config) -> Iterator[Problem]:
    voc = VOC_STATISTICS if config.dataset == "voc" else ()
    names = [f"{kind}_{row[0]}" for kind in config.iou_types for row in COCO_STATISTICS]
    of_classes = [f"{kind}_{name}" for kind in config.iou_types for name in CLASS_STATISTICS]
    losses = [VALIDATION_LOSS] if config.val_loss else []
    known = [AUTO_METRIC, *names, *voc, *losses]
    name, of_class, class_name = config.main_metric.partition("/")
    if config.main_metric in known or (of_class and name in (*of_classes, *voc) and class_name in config.class_names):
        return
    per_class = " and ".join(f"{one}/CLASS" for one in (*of_classes, *voc))
    hint = "" if losses else f", and {VALIDATION_LOSS} with val_loss: 1"
    yield (
        "main_metric",
        f"is {config.main_metric!r}; known are {', '.join(known)}, {per_class} with a class of coco_classes{hint}",
    )


def _frame(config: Config) -> Iterator[Problem]:
    """Frames that turn for images of the other orientation."""
    if len(config.input_shapes) > 1 and not spec_of(config).takes_turned_frame:
        yield (
            "turn_frame",
            f"is True, but {config.detector} takes inputs of one shape: give a square img_width and img_height, or "
            "turn_frame: False",
        )
    if config.export_turned and config.turning_hw is None:
        yield "export_turned", "is True, but there is no turned frame: turn_frame is False, or the frame is square"


def _start(config: Config) -> Iterator[Problem]:
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
