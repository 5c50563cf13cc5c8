"""What the log of a training says before the first step: its size, and what looks like a mistake."""

import math
from collections.abc import Iterator

from src.data.detection_dataset import DetectionDataset
from src.model_utils.device_adapter import Device
from src.models.api import Detector
from src.schema import Config
from src.weights.checkpoint import TrainingState


def size_of_run(config: Config, device: Device, net: Detector, dataset: DetectionDataset, steps_per_epoch: int) -> str:
    """One line: detector, devices, parameters, images, steps and epochs."""
    parameters = sum(math.prod(parameter.shape) for parameter in net.trainable_params())
    return (
        f"{config.detector} on {device.target} x {device.world}: {parameters / 1e6:.3f} M trainable "
        f"parameters, {len(dataset.records)} training images, {steps_per_epoch} steps per epoch, "
        f"{config.epoch_size} epochs"
    )


def likely_mistakes(config: Config, device: Device, dataset: DetectionDataset, state: TrainingState) -> Iterator[str]:
    """Warnings: values that rarely go together, and the first problems of the data."""
    if config.run_distribute and device.world == 1:
        yield (
            "run_distribute is 1, but this process trains alone: scripts/run_distribute_train_gpu.sh, mpirun (GPU) or "
            "msrun (CPU, Ascend) start several"
        )
    images = config.batch_size * config.accumulate_step * device.world
    if config.base_batch_size and images != config.base_batch_size:
        suggested = config.lr * images / config.base_batch_size
        yield (
            f"lr {config.lr:g} was set for {config.base_batch_size} images per step, this run has {images} "
            f"({config.batch_size} x {config.accumulate_step} accumulated x {device.world} devices): "
            f"--lr {suggested:.4g} would match"
        )
    backbone = config.backbone
    if backbone.frozen >= 0 and not (state.step or config.pre_trained or backbone.pretrained):
        yield (
            f"backbone.frozen_stages {backbone.frozen} keeps random weights: name an ImageNet backbone in "
            "backbone.pretrained, or set backbone.frozen_stages -1 and backbone.norm_eval 0 to train from nothing"
        )
    yield from dataset.problems[:10]
