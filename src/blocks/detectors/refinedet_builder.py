"""From a configuration to a RefineDet."""

import numpy as np
from mindspore import nn

from src.blocks.anchor_generator.build import build_anchor_generator
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.dense_heads import MultiBoxHead
from src.blocks.detectors.backbone_builder import build_backbone
from src.blocks.detectors.config_values import norm_of, options_of
from src.blocks.detectors.multibox_loss import MultiBoxLoss
from src.blocks.detectors.refinedet import RefineDet
from src.blocks.detectors.refinedet_targets import RefineDetTargets, limit_sides
from src.blocks.layers import Norm
from src.blocks.necks import ResNetLevels, TransferConnections, VGGLevels
from src.blocks.post_processing import MultiBoxSelection


def _levels(section, channels: tuple[int, ...], norm: Norm) -> nn.Cell:
    return VGGLevels(channels) if section.type == "vgg16" else ResNetLevels(channels, norm)


def anchors_of(config) -> np.ndarray:
    """All anchors float32 [P,4], x1 y1 x2 y2 in network pixels, ordered by level, y, x, anchor."""
    section, (height, width) = config.bbox_head.anchor_generator, config.input_hw
    generator = build_anchor_generator(config.detector, section)
    anchors = np.concatenate(generator.grid_anchors(generator.feature_sizes(height, width)))
    return limit_sides(anchors, height, width) if section.clip else anchors


def build_refinedet(config) -> RefineDet:
    head, coder = config.bbox_head, config.bbox_head.bbox_coder
    norm = norm_of(config.neck.norm_cfg)
    backbone = build_backbone(config.backbone)
    levels = _levels(config.backbone, backbone.out_channels, norm)
    out_channels = config.neck.out_channels
    num_anchors = len(head.anchor_generator.scales) * len(head.anchor_generator.ratios)
    block_norm = norm if head.prediction_blocks else None
    return RefineDet(
        backbone=backbone,
        levels=levels,
        neck=TransferConnections(levels.out_channels, out_channels, norm if config.neck.with_bn else None),
        arm_head=MultiBoxHead(levels.out_channels, num_anchors, 2, block_norm),
        odm_head=MultiBoxHead([out_channels] * len(levels.out_channels), num_anchors, config.num_classes, block_norm),
        targets=RefineDetTargets(
            anchors_of(config),
            DeltaXYWHBBoxCoder(coder.target_means, coder.target_stds, log_epsilon=coder.log_epsilon),
            iou_thr=config.train_cfg.pos_iou_thr,
            objectness_thr=head.objectness_thr,
            objectness_filter=config.train_cfg.objectness_filter,
        ),
        loss=MultiBoxLoss(config.train_cfg.neg_pos_ratio),
        selection=MultiBoxSelection(**options_of(config.test_cfg)),
    )
