"""Keys of RetinaNet."""

from typing import Annotated, Literal

from pydantic import Field

from src.models.backbones.resnet import ResNetConfig
from src.models.backbones.spinenet import SpineNetConfig
from src.schema.experiment import Config
from src.schema.sections import (
    MOST_LEVELS,
    Activation,
    AnchorShapes,
    AssignerConfig,
    BBoxCoderConfig,
    BoxLossConfig,
    Channels,
    Count,
    Factor,
    Fraction,
    Layers,
    Levels,
    NonNegative,
    NonNegativeInt,
    NormConfig,
    Section,
    Strides,
    SuppressionKeys,
    key,
    published_key,
)


class NASFPNConfig(Section):
    in_channels: list[Channels] = key([512, 1024, 2048], "channels of each feature map of the backbone", min_length=1)
    out_channels: Channels = key(256, "channels of each output level")
    num_outs: Levels = key(5, "number of output levels; the cells that the search found merge 5")
    stack_times: Layers = key(7, "number of stacked cells")
    start_level: Annotated[int, Field(ge=0, lt=MOST_LEVELS)] = key(0, "first of in_channels that is used")
    end_level: Annotated[int, Field(ge=-1, lt=MOST_LEVELS)] = key(-1, "last of in_channels that is used; -1: the last")
    norm_cfg: NormConfig = key(NormConfig(momentum=0.1, eps=1e-5), "batch normalization of the neck")


class NeckConfig(Section):
    nas_fpn: NASFPNConfig = key(NASFPNConfig(), "NAS-FPN")


class FocalLossConfig(Section):
    gamma: Annotated[float, Field(ge=0, le=100)] = key(2.0, "focusing exponent of the focal loss")
    alpha: Fraction = key(0.25, "weight of the positives; negatives weigh 1 - alpha")
    loss_weight: NonNegative = key(1.0, "weight of the classification loss")


class AnchorGeneratorConfig(Section):
    octave_base_scale: Factor = key(3, "side of the smallest anchor in strides")
    scales_per_octave: Annotated[int, Field(gt=0, le=100)] = key(3, "anchor scales per level")
    ratios: AnchorShapes = key([0.5, 1.0, 2.0], "height / width of the anchors")
    strides: Strides = key([8, 16, 32, 64, 128], "pixels between anchors, one per level")


class BBoxHeadConfig(Section):
    type: Literal["retina_sepbn"] = published_key(
        "retina_sepbn", "dense head: convolutions shared by the levels, BN per level"
    )
    num_ins: Levels = key(5, "number of levels")
    in_channels: Channels = key(256, "channels of each level")
    stacked_convs: Layers = key(4, "convolutions before the output, in both branches")
    feat_channels: Channels = key(256, "channels of these convolutions")
    act: Activation = key("relu", "activation after each convolution")
    prior_prob: Annotated[float, Field(gt=0, lt=1)] = key(0.01, "initial probability of each class")
    bbox_coder: BBoxCoderConfig = key(BBoxCoderConfig(), "box encoding")
    loss_cls: FocalLossConfig = key(FocalLossConfig(), "classification loss")
    loss_bbox: BoxLossConfig = key(BoxLossConfig(), "localization loss")
    anchor_generator: AnchorGeneratorConfig = key(AnchorGeneratorConfig(), "anchors")
    norm_cfg: NormConfig = key(NormConfig(), "batch normalization of the head")


class TrainConfig(Section):
    assigner: AssignerConfig = key(AssignerConfig(), "which anchors are positive")


class NMSConfig(SuppressionKeys):
    iou_threshold: Fraction = key(0.5, "a box of the same class with a larger IoU is dropped")


class TestConfig(Section):
    nms_pre: Count = key(1000, "best candidates per level before NMS")
    min_bbox_size: NonNegative = key(0, "least width and height of a box, in network pixels")
    score_thr: Fraction = key(0.05, "least score of a candidate")
    max_per_img: Count = key(100, "most detections per image")
    nms: NMSConfig = key(NMSConfig(), "non-maximum suppression")


class RetinaNetConfig(Config):
    """What experiments with RetinaNet have in common; the backbone chooses the subclass."""

    detector: Literal["retinanet"] = key("retinanet", "which detector")
    bbox_head: BBoxHeadConfig = key(BBoxHeadConfig(), "dense head")
    train_cfg: TrainConfig = key(TrainConfig(), "targets in training")
    test_cfg: TestConfig = key(TestConfig(), "post-processing")
    num_retinanet_boxes: NonNegativeInt = published_key(
        0, "number of anchors: must be that of the input size; 0: not compared"
    )


class SpineNetRetinaNetConfig(RetinaNetConfig):
    """An experiment with RetinaNet on a SpineNet, or another backbone that is a pyramid by itself."""

    backbone: SpineNetConfig = key(SpineNetConfig(), "backbone")


class NASFPNRetinaNetConfig(RetinaNetConfig):
    """An experiment with RetinaNet on a ResNet, or another backbone of stages, with NAS-FPN."""

    backbone: ResNetConfig = key(ResNetConfig(out_indices=[1, 2, 3], norm_eval=False), "backbone")
    neck: NeckConfig = key(NeckConfig(), "neck")
    bbox_head: BBoxHeadConfig = key(
        BBoxHeadConfig(
            loss_bbox=BoxLossConfig(type="l1"),
            anchor_generator=AnchorGeneratorConfig(octave_base_scale=4),
            norm_cfg=NormConfig(momentum=0.1, eps=1e-5),
        ),
        "dense head",
    )
