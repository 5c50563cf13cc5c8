"""From a configuration to a RefineDet."""

import numpy as np
from mindspore import nn

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.dense_heads import MultiBoxHead
from src.blocks.layers import Norm
from src.blocks.losses.multibox_loss import MultiBoxLoss
from src.blocks.necks import ResNetLevels, TransferConnections, VGGLevels
from src.blocks.post_processing import MultiBoxSelection
from src.models.backbones.table import build_backbone
from src.models.config_values import norm_of, options_of
from src.models.refinedet.config import CENTER_OFFSET, RefineDetConfig
from src.models.refinedet.detector import RefineDet
from src.models.refinedet.targets import RefineDetTargets, limit_sides
from src.schema.sections import BackboneConfig


def _levels(section: BackboneConfig, channels: tuple[int, ...], norm: Norm) -> nn.Cell:
    return VGGLevels(channels) if section.type == "vgg16" else ResNetLevels(channels, norm)


def anchors_of(config: RefineDetConfig) -> np.ndarray:
    """All anchors float32 [P,4], x1 y1 x2 y2 in network pixels, ordered by level, y, x, anchor."""
    section, (height, width) = config.bbox_head.anchor_generator, config.input_hw
    generator = AnchorGenerator(**options_of(section, "clip"), center_offset=CENTER_OFFSET)
    anchors = np.concatenate(generator.grid_anchors(generator.feature_sizes(height, width)))
    return limit_sides(anchors, height, width) if section.clip else anchors


def selection_of(config: RefineDetConfig) -> MultiBoxSelection:
    """How scores become detections."""
    return MultiBoxSelection(**options_of(config.test_cfg))


def build_refinedet(config: RefineDetConfig) -> RefineDet:
    """A RefineDet on VGG-16, a ResNet or another backbone with maps of strides 8, 16 and 32."""
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
        selection=selection_of(config),
    )
