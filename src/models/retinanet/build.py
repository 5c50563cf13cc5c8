"""From a configuration to a RetinaNet."""

from mindspore import nn

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.assigners_samplers import AssignerOptions
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.dense_heads import BranchOptions, RetinaSepBNHead
from src.blocks.losses import LossWeights, SigmoidFocalLoss
from src.blocks.necks import NASFPN
from src.blocks.post_processing import DenseSelection
from src.common.errors import UserError
from src.models.backbones.table import build_backbone
from src.models.config_values import box_loss_of, norm_of, options_of
from src.models.retinanet.config import NASFPNRetinaNetConfig, RetinaNetConfig
from src.models.retinanet.detector import RetinaNet
from src.models.retinanet.targets import DenseTargets


def _build_neck(config: RetinaNetConfig) -> nn.Cell | None:
    """What merges the stages of a backbone; one that is a pyramid by itself has none."""
    if not isinstance(config, NASFPNRetinaNetConfig):
        return None
    section = config.neck
    options = options_of(section.nas_fpn, "norm_cfg")
    return NASFPN(norm=norm_of(section.nas_fpn.norm_cfg), **options)


def _check_input_size(height: int, width: int, stride: int) -> None:
    for key, side in (("img_height", height), ("img_width", width)):
        if side % stride:
            nearest = max(stride, round(side / stride) * stride)
            raise UserError(
                f"{key}: the input would be {side} pixels, which the network's largest stride {stride} does not divide;"
                f" try {nearest}, or set divider: {stride}"
            )


def selection_of(config: RetinaNetConfig) -> DenseSelection:
    """How raw outputs become detections."""
    test = config.test_cfg
    limits = test.score_thr, test.nms_pre, test.nms.iou_threshold, test.max_per_img, test.min_bbox_size
    return DenseSelection(*limits, test.nms.suppression, test.nms.soft_sigma)


def build_retinanet(config: RetinaNetConfig) -> RetinaNet:
    """A RetinaNet on a SpineNet, or on a ResNet with NAS-FPN."""
    head = config.bbox_head
    height, width = config.input_hw
    _check_input_size(height, width, max(head.anchor_generator.strides))
    generator = AnchorGenerator(**options_of(head.anchor_generator))
    coder = DeltaXYWHBBoxCoder(head.bbox_coder.target_means, head.bbox_coder.target_stds)
    return RetinaNet(
        backbone=build_backbone(config.backbone),
        neck=_build_neck(config),
        bbox_head=RetinaSepBNHead(
            num_classes=config.num_classes - 1,
            num_levels=head.num_ins,
            num_anchors=generator.num_base_anchors,
            in_channels=head.in_channels,
            options=BranchOptions(head.feat_channels, head.stacked_convs, norm_of(head.norm_cfg), head.act),
            prior_prob=head.prior_prob,
        ),
        targets=DenseTargets(
            generator,
            generator.feature_sizes(height, width),
            coder,
            AssignerOptions(**options_of(config.train_cfg.assigner)),
        ),
        loss_cls=SigmoidFocalLoss(head.loss_cls.gamma, head.loss_cls.alpha),
        loss_bbox=box_loss_of(head.loss_bbox),
        weights=LossWeights(head.loss_cls.loss_weight, head.loss_bbox.loss_weight),
        selection=selection_of(config),
    )
