"""Keys of Mask R-CNN, Cascade Mask R-CNN and InstaBoost."""

from typing import Annotated, Literal

from pydantic import Field

from src.models.backbones.resnet import ResNetConfig
from src.schema.experiment import Config, MaskOptions
from src.schema.instaboost import InstaBoostKeys
from src.schema.sections import (
    LARGEST_FLOAT,
    MOST_LAYERS,
    AnchorShapes,
    AssignerConfig,
    BBoxCoderConfig,
    BoxLossConfig,
    Channels,
    Count,
    Fraction,
    Levels,
    NonNegative,
    PositiveFour,
    PositiveInt,
    Section,
    Side,
    Strides,
    SuppressionKeys,
    key,
    published_key,
)

PooledSide = Annotated[int, Field(gt=0, le=256)]


class FPNConfig(Section):
    in_channels: list[Channels] = key([256, 512, 1024, 2048], "channels of each input level", min_length=1)
    out_channels: Channels = key(256, "channels of each output level")
    num_outs: Levels = key(5, "number of output levels")


class NeckConfig(Section):
    fpn: FPNConfig = key(FPNConfig(), "feature pyramid network")


class WeightConfig(Section):
    loss_weight: NonNegative = key(1.0, "weight of the loss")


class RPNAnchorConfig(Section):
    scales: AnchorShapes = key([8], "sides of the anchors in strides")
    ratios: AnchorShapes = key([0.5, 1.0, 2.0], "height / width of the anchors")
    strides: Strides = key([4, 8, 16, 32, 64], "pixels between anchors, one per level")
    rounded: bool = key(False, "anchors with corners at whole pixels, as torchvision's")


class RPNConfig(Section):
    in_channels: Channels = key(256, "input channels")
    feat_channels: Channels = key(256, "channels of the 3x3 convolution")
    num_classes: Literal[1] = published_key(1, "object or not: one output per anchor")
    bbox_coder: BBoxCoderConfig = key(BBoxCoderConfig(), "box encoding")
    loss_cls: WeightConfig = key(WeightConfig(), "objectness loss (sigmoid cross entropy)")
    loss_bbox: BoxLossConfig = key(BoxLossConfig(type="l1"), "localization loss")
    anchor_generator: RPNAnchorConfig = key(RPNAnchorConfig(), "anchors")


class RoIBBoxHeadConfig(Section):
    type: Literal["shared_2fc"] = published_key("shared_2fc", "two shared fully connected layers")
    in_channels: Channels = key(256, "input channels")
    fc_out_channels: Channels = key(1024, "outputs of each fully connected layer")
    roi_feat_size: PooledSide = key(7, "side of the pooled feature map")
    reg_class_agnostic: bool = key(False, "one box for all classes, or one per class")
    bbox_coder: BBoxCoderConfig = key(BBoxCoderConfig(target_stds=[0.1, 0.1, 0.2, 0.2]), "box encoding")
    loss_cls: WeightConfig = key(WeightConfig(), "classification loss (softmax cross entropy)")
    loss_bbox: BoxLossConfig = key(BoxLossConfig(type="l1"), "localization loss")


class MaskHeadConfig(Section):
    num_convs: Annotated[int, Field(ge=0, le=MOST_LAYERS)] = key(4, "number of 3x3 convolutions")
    in_channels: Channels = key(256, "input channels")
    conv_out_channels: Channels = key(256, "channels of the convolutions")
    loss_mask: WeightConfig = key(WeightConfig(), "mask loss (sigmoid cross entropy of the object's class)")


class RoILayerConfig(Section):
    type: Literal["RoIAlign"] = published_key("RoIAlign", "pooling operator")
    out_size: PooledSide = key(7, "side of the pooled map")
    sampling_ratio: Annotated[int, Field(ge=0, le=64)] = key(0, "samples per bin and axis; 0: one per feature pixel")
    aligned: bool = key(True, "pixel centres at half integers; False: RoIAlign as first published")


class RoIExtractorConfig(Section):
    roi_layer: RoILayerConfig = key(RoILayerConfig(), "pooling")
    out_channels: Channels = published_key(256, "channels of the pooled levels: must be the neck's")
    featmap_strides: Strides = key([4, 8, 16, 32], "strides of the pooled levels")
    finest_scale: PositiveInt = key(56, "RoIs up to twice this side (pixels) are pooled on the finest level")
    sample_num: Count = key(640, "most RoIs of an image in training")


class BoxRoIExtractorConfig(RoIExtractorConfig):
    sample_num: Count = published_key(
        640, "most RoIs of an image in training: train_cfg.rcnn.sampler.num sets them, which must not be more"
    )


class SamplerConfig(Section):
    num: Count = key(256, "number of samples per image")
    pos_fraction: Fraction = key(0.5, "greatest share of positives among them")
    neg_pos_ub: Annotated[float, Field(ge=-1, le=LARGEST_FLOAT)] = key(-1, "most negatives per positive; -1: no limit")
    add_gt_as_proposals: bool = key(False, "the objects themselves are proposals, too")


class RPNSamplerConfig(SamplerConfig):
    add_gt_as_proposals: Literal[False] = published_key(False, "anchors are sampled: there are no proposals yet")


class ProposalConfig(Section):
    nms_pre: Count = key(2000, "best anchors per level before NMS")
    max_per_img: Count = key(1000, "most proposals per image")
    iou_threshold: Fraction = key(0.7, "a proposal with a larger IoU with a better one is dropped")
    min_bbox_size: NonNegative = key(0, "least width and height, in network pixels")


class RPNTrainConfig(Section):
    assigner: AssignerConfig = key(AssignerConfig(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3), "IoU thresholds")
    sampler: RPNSamplerConfig = key(RPNSamplerConfig(), "which anchors count")
    allowed_border: Annotated[float, Field(ge=-1, le=LARGEST_FLOAT)] = key(
        -1, "anchors that leave the image by more pixels are ignored; -1: none is"
    )


class RCNNTrainConfig(Section):
    assigner: AssignerConfig = key(AssignerConfig(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5), "IoU thresholds")
    sampler: SamplerConfig = key(
        SamplerConfig(num=512, pos_fraction=0.25, add_gt_as_proposals=True), "which RoIs count"
    )
    mask_size: PooledSide = key(28, "side of the mask targets: twice mask_roi's out_size")


class MaskRCNNTrainConfig(Section):
    rpn: RPNTrainConfig = key(RPNTrainConfig(), "targets of the RPN")
    rpn_proposal: ProposalConfig = key(ProposalConfig(), "proposals in training")
    rcnn: RCNNTrainConfig = key(RCNNTrainConfig(), "targets of the RoI heads")


class RCNNTestConfig(SuppressionKeys):
    score_thr: Fraction = key(0.05, "least score of a detection")
    iou_threshold: Fraction = key(0.5, "a box of the same class with a larger IoU is dropped")
    max_per_img: Count = key(100, "most detections per image")
    mask_thr_binary: Annotated[float, Field(gt=0, le=1)] = key(0.5, "least probability of a pixel of the mask")


class MaskRCNNTestConfig(Section):
    rpn: ProposalConfig = key(ProposalConfig(nms_pre=1000), "proposals")
    rcnn: RCNNTestConfig = key(RCNNTestConfig(), "detections")


class MaskRCNNConfig(InstaBoostKeys, Config):
    """An experiment with Mask R-CNN."""

    detector: str = key("mask_rcnn", "which detector")
    backbone: ResNetConfig = key(ResNetConfig(), "backbone")
    neck: NeckConfig = key(NeckConfig(), "neck")
    rpn: RPNConfig = key(RPNConfig(), "region proposal network")
    bbox_head: RoIBBoxHeadConfig = key(RoIBBoxHeadConfig(), "box head")
    mask_head: MaskHeadConfig = key(MaskHeadConfig(), "mask head")
    roi: BoxRoIExtractorConfig = key(BoxRoIExtractorConfig(), "RoI extractor of the box head")
    mask_roi: RoIExtractorConfig = key(
        RoIExtractorConfig(roi_layer=RoILayerConfig(out_size=14), sample_num=128), "RoI extractor of the mask head"
    )
    train_cfg: MaskRCNNTrainConfig = key(MaskRCNNTrainConfig(), "targets in training")
    test_cfg: MaskRCNNTestConfig = key(MaskRCNNTestConfig(), "post-processing")

    # images
    turn_frame: bool = key(
        True, "turn img_width x img_height by 90 degrees for images of the other orientation, or fit them in as it is"
    )

    # ground-truth masks
    mask_divider: Side = key(1, "ground-truth masks are kept at 1 / mask_divider of the network's resolution")
    mask_crop_size: Annotated[int, Field(ge=28, le=1024)] = key(
        128, "side of an object's ground-truth mask in memory; larger objects are averaged down to it"
    )

    @property
    def mask_options(self) -> MaskOptions:
        """How ground-truth masks are kept, and predicted ones cut."""
        return MaskOptions(self.mask_crop_size, self.mask_divider, self.test_cfg.rcnn.mask_thr_binary)


class CascadeConfig(Section):
    num_stages: Levels = published_key(3, "number of box and mask heads: the lists must have as many entries")
    stage_loss_weights: list[NonNegative] = key([1.0, 0.5, 0.25], "weight of each stage's losses")
    pos_iou_thr: list[Fraction] = key([0.5, 0.6, 0.7], "IoU that makes a RoI positive, one per stage")
    target_stds: list[PositiveFour] = key(
        [[0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]],
        "box deltas are divided by these, one per stage (instead of bbox_head.bbox_coder.target_stds)",
    )


class CascadeMaskRCNNConfig(MaskRCNNConfig):
    """An experiment with Cascade Mask R-CNN."""

    detector: str = key("cascade_mask_rcnn", "which detector")
    cascade: CascadeConfig = key(CascadeConfig(), "stages of the cascade")
