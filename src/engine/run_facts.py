"""What the log of a training says before the first step: its size, what was chosen, and what looks like a mistake."""

import math
from collections.abc import Iterator

import numpy as np

from src.data.detection_dataset import DetectionDataset
from src.data.sampling import images_per_epoch
from src.engine.lr_schedule import base_rate, images_per_step
from src.model_utils.device_adapter import Device, can_sink_steps
from src.models.api import Detector
from src.ops.precision import FULL_PRECISION
from src.schema import Config
from src.schema.instaboost import InstaBoostKeys
from src.schema.sections import Section
from src.weights.checkpoint import TrainingState

FIVE_PHASE_KEYS = ("lr_init", "lr_end_rate", *(f"warmup_epochs{phase}" for phase in range(1, 6)))


def facts_of_run(
    config: Config,
    device: Device,
    net: Detector,
    dataset: DetectionDataset,
    steps_per_epoch: int,
    factors: np.ndarray | None = None,
) -> Iterator[str]:
    """Lines: detector, devices, parameters, images, steps and epochs; what is not as usual with rate and images.

    Args:
        config: of the training.
        device: this process.
        net: detector.
        dataset: that is trained on.
        steps_per_epoch: updates per epoch.
        factors: float64 [N], how often each image comes in an epoch on average; None: once.
    """
    parameters = sum(math.prod(parameter.shape) for parameter in net.trainable_params())
    yield (
        f"{config.detector} on {device.target} x {device.world}: {parameters / 1e6:.3f} M trainable "
        f"parameters, {len(dataset.records)} training images, {steps_per_epoch} steps per epoch, "
        f"{config.epoch_size} epochs"
    )
    if config.auto_scale_lr:
        yield (
            f"learning rate {base_rate(config, device.world):.4g}: lr {config.lr:g} x "
            f"{images_per_step(config, device.world)} / {config.base_batch_size} images per step"
        )
    if factors is not None:
        yield (
            f"repeat factors with threshold {config.repeat_threshold:g}: {images_per_epoch(factors)} images per epoch, "
            f"{np.count_nonzero(factors > 1)} images more than once, up to {factors.max():.3g} times"
        )
    if config.amp_level != FULL_PRECISION:
        yield f"half precision: amp_level {config.amp_level} in {config.amp_dtype}, loss_scale {config.loss_scale}"
    if config.datasink and can_sink_steps(device.target):
        yield f"datasink: steps are sunk to the {device.target}, up to {config.sink_size} at a time"
    if config.recompute:
        yield "recompute: the backward pass computes the activations of the backbone's blocks again"
    if config.jit_level:
        yield f"jit_level: graphs are compiled at level {config.jit_level}"
    yield from _instaboost(config)


def _instaboost(config: Section) -> Iterator[str]:
    if isinstance(config, InstaBoostKeys) and config.aug_prob:
        yield f"InstaBoost, with probability {config.aug_prob:g}: {config.instaboost_choice}"


def likely_mistakes(
    config: Config,
    device: Device,
    dataset: DetectionDataset,
    state: TrainingState,
    evaluated: DetectionDataset | None = None,
) -> Iterator[str]:
    """Warnings: values that rarely go together, and the first problems of the data.

    Args:
        config: of the training.
        device: this process.
        dataset: that is trained on.
        state: where the training starts.
        evaluated: data set of the evaluations; None: there are none.
    """
    yield from _devices(config, device)
    yield from _schedule(config)
    if not (state.step or config.pre_trained or config.backbone.pretrained):
        yield from _random_backbone(config)
    if evaluated is not None:
        yield from _evaluated_on_training_images(dataset, evaluated)
    yield from dataset.problems[:10]


def _devices(config: Config, device: Device) -> Iterator[str]:
    if config.run_distribute and device.world == 1:
        yield (
            "run_distribute is 1, but this process trains alone: scripts/run_distribute_train_gpu.sh, mpirun (GPU) or "
            "msrun (CPU, Ascend) start several"
        )
    if config.enable_graph_kernel and device.target == "CPU":
        yield "enable_graph_kernel is 1, but kernels are fused on GPU and Ascend only: nothing is on the CPU"
    if config.jit_level and device.target == "CPU":
        yield f"jit_level is {config.jit_level}, but on the CPU all levels compute the same in the same time"
    if config.datasink and not can_sink_steps(device.target):
        yield f"datasink is 1, but steps are not sunk on the {device.target}: they are taken one by one"
    if config.amp_level != FULL_PRECISION and device.target == "CPU":
        yield f"amp_level is {config.amp_level}, but half precision saves no time on the CPU: O0 is faster there"
    images = images_per_step(config, device.world)
    if config.base_batch_size and not config.auto_scale_lr and images != config.base_batch_size:
        suggested = config.lr * images / config.base_batch_size
        yield (
            f"lr {config.lr:g} was set for {config.base_batch_size} images per step, this run has {images} "
            f"({config.batch_size} x {config.accumulate_step} accumulated x {device.world} devices): "
            f"--lr {suggested:.4g} would match, and --auto_scale_lr 1 applies it"
        )


def _schedule(config: Config) -> Iterator[str]:
    """Keys of the five ramps where there are none.

    A configuration that a training saved names all keys: of these, only values other than the defaults were set.
    """
    if config.lr_type == "five_phase":
        return
    fields, given = type(config).model_fields, config.model_fields_set
    was_saved = given >= fields.keys()
    unused = [
        name
        for name in FIVE_PHASE_KEYS
        if name in given and not (was_saved and getattr(config, name) == fields[name].default)
    ]
    if unused:
        yield f"lr_type is {config.lr_type}, which does not use {', '.join(unused)}; --lr_type five_phase would"


def _random_backbone(config: Config) -> Iterator[str]:
    backbone = config.backbone
    if backbone.frozen >= 0:
        yield (
            f"backbone.frozen_stages {backbone.frozen} keeps random weights: name an ImageNet backbone in "
            "backbone.pretrained, or set backbone.frozen_stages -1 and backbone.norm_eval 0 to train from nothing"
        )
    if backbone.needs_pretraining:
        yield (
            f"backbone {backbone.type} without batch normalization starts from random weights: the first losses are "
            "in the hundreds: name an ImageNet backbone in backbone.pretrained, or set backbone.with_bn 1 to train "
            "from nothing"
        )


def _evaluated_on_training_images(trained: DetectionDataset, evaluated: DetectionDataset) -> Iterator[str]:
    names = {record.name for record in trained.records}
    both = [record.name for record in evaluated.records if record.name in names]
    if both:
        yield (
            f"{len(both)} of the {len(evaluated.records)} images of {evaluated.annotation_file} are trained on and "
            f"evaluated, the first: {both[0]}; AP says nothing about new images then: give others as val_dataset"
        )
