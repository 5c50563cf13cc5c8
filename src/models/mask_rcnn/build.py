"""From a configuration to a Mask R-CNN or a Cascade Mask R-CNN."""

from typing import NamedTuple

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.assigners_samplers import RCNNTargets, RPNTargets
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.bbox_heads import Shared2FCBBoxHead
from src.blocks.dense_heads import ProposalGenerator, RPNHead
from src.blocks.mask_heads import FCNMaskHead, MaskTargets
from src.blocks.necks import FPN
from src.blocks.post_processing import RoISelection
from src.blocks.roi_extractors import SingleRoIExtractor
from src.models.backbones.table import build_backbone
from src.models.config_values import box_loss_of, options_of
from src.models.mask_rcnn.config import CascadeMaskRCNNConfig, MaskRCNNConfig
from src.models.mask_rcnn.detector import MaskRCNN
from src.models.mask_rcnn.roi_head import RoIHead, RoILossWeights


class Stage(NamedTuple):
    """What differs between the stages of a cascade."""

    loss_weight: float
    pos_iou_thr: float
    neg_iou_thr: float
    min_pos_iou: float
    target_stds: tuple[float, ...]


def build_mask_rcnn(config: MaskRCNNConfig) -> MaskRCNN:
    """A Mask R-CNN: one stage of heads."""
    assigner = config.train_cfg.rcnn.assigner
    stds = tuple(config.bbox_head.bbox_coder.target_stds)
    return _build(config, [Stage(1.0, assigner.pos_iou_thr, assigner.neg_iou_thr, assigner.min_pos_iou, stds)])


def build_cascade_mask_rcnn(config: CascadeMaskRCNNConfig) -> MaskRCNN:
    """A Cascade Mask R-CNN: stages of rising IoU thresholds."""
    cascade = config.cascade
    rows = zip(cascade.stage_loss_weights, cascade.pos_iou_thr, cascade.target_stds, strict=True)
    return _build(config, [Stage(weight, iou, iou, iou, tuple(stds)) for weight, iou, stds in rows])


def _build(config: MaskRCNNConfig, stages: list[Stage]) -> MaskRCNN:
    rpn = config.rpn
    generator = AnchorGenerator(**options_of(rpn.anchor_generator))
    coder = DeltaXYWHBBoxCoder(rpn.bbox_coder.target_means, rpn.bbox_coder.target_stds)
    train = config.train_cfg
    targets = RPNTargets(
        generator,
        generator.feature_sizes(*config.input_hw),
        coder,
        **options_of(train.rpn.assigner),
        **options_of(train.rpn.sampler, "add_gt_as_proposals"),
        allowed_border=train.rpn.allowed_border,
    )

    def proposals(section) -> ProposalGenerator:
        return ProposalGenerator(targets.level_anchors, targets.num_anchors, coder, **options_of(section))

    test = config.test_cfg.rcnn
    return MaskRCNN(
        backbone=build_backbone(config.backbone),
        neck=FPN(**options_of(config.neck.fpn)),
        rpn_head=RPNHead(rpn.in_channels, rpn.feat_channels, targets.num_anchors),
        rpn_targets=targets,
        rpn_loss_bbox=box_loss_of(rpn.loss_bbox),
        rpn_weights=(rpn.loss_cls.loss_weight, rpn.loss_bbox.loss_weight),
        train_proposals=proposals(train.rpn_proposal),
        test_proposals=proposals(config.test_cfg.rpn),
        roi_head=_roi_head(config, stages),
        selection=RoISelection(test.score_thr, test.iou_threshold, test.max_per_img),
    )


def _roi_head(config: MaskRCNNConfig, stages: list[Stage]) -> RoIHead:
    head, mask_head = config.bbox_head, config.mask_head
    classes = config.num_classes - 1
    weights = (head.loss_cls.loss_weight, head.loss_bbox.loss_weight, mask_head.loss_mask.loss_weight)
    return RoIHead(
        bbox_heads=[
            Shared2FCBBoxHead(
                classes, head.in_channels, head.fc_out_channels, head.roi_feat_size, head.reg_class_agnostic
            )
            for _ in stages
        ],
        mask_heads=[
            FCNMaskHead(mask_head.num_convs, mask_head.in_channels, mask_head.conv_out_channels, classes)
            for _ in stages
        ],
        bbox_extractor=_extractor(config.roi),
        mask_extractor=_extractor(config.mask_roi),
        targets=_targets(config, stages),
        mask_targets=MaskTargets(config.input_hw, config.train_cfg.rcnn.mask_size, config.mask_divider),
        bbox_loss=box_loss_of(head.loss_bbox),
        weights=[RoILossWeights(*(stage.loss_weight * weight for weight in weights)) for stage in stages],
        max_mask_rois=config.mask_roi.sample_num,
        class_agnostic=head.reg_class_agnostic,
    )


def _extractor(section) -> SingleRoIExtractor:
    layer = section.roi_layer
    return SingleRoIExtractor(
        out_size=layer.out_size,
        featmap_strides=section.featmap_strides,
        sampling_ratio=layer.sampling_ratio,
        aligned=layer.aligned,
        finest_scale=section.finest_scale,
    )


def _targets(config: MaskRCNNConfig, stages: list[Stage]) -> list[RCNNTargets]:
    rcnn = config.train_cfg.rcnn
    count, result = config.train_cfg.rpn_proposal.max_per_img, []
    for index, stage in enumerate(stages):
        coder = DeltaXYWHBBoxCoder(config.bbox_head.bbox_coder.target_means, stage.target_stds)
        target = RCNNTargets(
            count,
            config.num_gts,
            config.num_classes - 1,
            coder,
            pos_iou_thr=stage.pos_iou_thr,
            neg_iou_thr=stage.neg_iou_thr,
            min_pos_iou=stage.min_pos_iou,
            match_low_quality=rcnn.assigner.match_low_quality,
            **options_of(rcnn.sampler),
            table_seed=index,
        )
        count = target.num_rois  # the next stage's proposals are this one's boxes
        result.append(target)
    return result
