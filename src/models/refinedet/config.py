"""Keys of RefineDet."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from src.models.backbones.resnet import ResNetConfig
from src.models.backbones.vgg import VGG16Config
from src.schema.experiment import Config
from src.schema.sections import (
    AnchorShapes,
    BBoxCoderConfig,
    Channels,
    Count,
    Fraction,
    NormConfig,
    PositiveFour,
    Section,
    Strides,
    SuppressionKeys,
    key,
)

CENTER_OFFSET = 0.5  # where in its cell an anchor lies, in strides (SSD's way)


class RefineDetBackboneConfig(ResNetConfig):
    """Keys of the published backbones."""

    published_sections: ClassVar = (ResNetConfig, VGG16Config)

    type: Literal["vgg16", "resnet", "resnext"] = key("vgg16", "backbone type; depth and the like are resnet's")
    with_bn: bool = key(False, "vgg16: batch normalization after each convolution (the published one has none)")
    norm_eval: bool = key(False, "batch normalization uses the stored statistics in training too")
    out_indices: list[Annotated[int, Field(ge=0, le=3)]] = key(
        [1, 2, 3], "resnet: the stages at 1/8, 1/16 and 1/32 of the image", min_length=3, max_length=3
    )

    @property
    def needs_pretraining(self) -> bool:
        """See `BackboneConfig`."""
        return self.type == "vgg16" and not self.with_bn


class TCBConfig(Section):
    out_channels: Channels = key(256, "channels of the transfer connection blocks")
    with_bn: bool = key(False, "batch normalization in them (the ResNet variants')")
    norm_cfg: NormConfig = key(
        NormConfig(momentum=0.1, eps=1e-5), "batch normalization there and in what follows a ResNet"
    )


class RefineDetAnchorConfig(Section):
    scales: AnchorShapes = key([4], "sides of the anchors in strides")
    ratios: AnchorShapes = key([1.0, 0.5, 2.0], "height / width of the anchors")
    strides: Strides = key([8, 16, 32, 64], "pixels between anchors, one per level")
    clip: bool = key(
        True, "no anchor is wider or higher than the image (the PyTorch port's); False: the authors' anchors"
    )


class RefineDetCoderConfig(BBoxCoderConfig):
    target_stds: PositiveFour = key([0.1, 0.1, 0.2, 0.2], "box deltas are divided by these (SSD's variances)")
    log_epsilon: Fraction = key(
        0.00001, "added to ratios of sides before the logarithm (the PyTorch port's); the authors' is 0"
    )


class RefineDetHeadConfig(Section):
    prediction_blocks: bool = key(False, "a residual block of 1024 channels before each level's predictors")
    objectness_thr: Fraction = key(0.01, "refined anchors of at most this objectness are dropped")
    bbox_coder: RefineDetCoderConfig = key(RefineDetCoderConfig(), "box encoding")
    anchor_generator: RefineDetAnchorConfig = key(RefineDetAnchorConfig(), "anchors")


class RefineDetTrainConfig(Section):
    pos_iou_thr: Fraction = key(0.5, "an anchor of at least this IoU with an object is positive, and its best one")
    neg_pos_ratio: Annotated[float, Field(ge=0, le=10**6)] = key(3.0, "hard negatives for each positive of an image")
    objectness_filter: Literal["positives", "negatives"] = key(
        "positives",
        "what anchors of low objectness cannot be in the second loss: positives (the PyTorch port) or hard negatives"
        " (the paper, the authors' code)",
    )


class RefineDetTestConfig(SuppressionKeys):
    score_thr: Fraction = key(0.01, "least score of a candidate")
    nms_pre: Count = key(1000, "best candidates per class before NMS")
    iou_threshold: Fraction = key(0.45, "a box of the same class with a larger IoU is dropped")
    max_per_img: Count = key(500, "most detections per image")


class RefineDetConfig(Config):
    """An experiment with RefineDet."""

    detector: Literal["refinedet"] = key("refinedet", "which detector")
    backbone: RefineDetBackboneConfig = key(RefineDetBackboneConfig(), "backbone")
    neck: TCBConfig = key(TCBConfig(), "transfer connection blocks")
    bbox_head: RefineDetHeadConfig = key(RefineDetHeadConfig(), "anchors and predictors of both modules")
    train_cfg: RefineDetTrainConfig = key(RefineDetTrainConfig(), "targets in training")
    test_cfg: RefineDetTestConfig = key(RefineDetTestConfig(), "post-processing")
