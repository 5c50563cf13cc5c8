"""From a configuration to a Mask R-CNN or a Cascade Mask R-CNN."""

from typing import NamedTuple

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.assigners_samplers import AssignerOptions, RCNNTargets, RPNTargets, SamplerOptions
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.bbox_heads import Shared2FCBBoxHead
from src.blocks.dense_heads import ProposalGenerator, RPNHead
from src.blocks.losses import LossWeights
from src.blocks.mask_heads import FCNMaskHead, MaskTargets
from src.blocks.necks import FPN
from src.blocks.post_processing import RoISelection
from src.blocks.roi_extractors import SingleRoIExtractor
from src.models.backbones.table import build_backbone
from src.models.config_values import box_loss_of, options_of
from src.models.mask_rcnn.config import CascadeMaskRCNNConfig, MaskRCNNConfig, ProposalConfig, RoIExtractorConfig
from src.models.mask_rcnn.detector import FrameAnchors, MaskRCNN, RegionProposals
from src.models.mask_rcnn.roi_head import RoIHead, RoILossWeights, RoIStage


class StageOptions(NamedTuple):
    """What differs between the stages of a cascade."""

    loss_weight: float
    assigner: AssignerOptions
    target_stds: tuple[float, ...]


def build_mask_rcnn(config: MaskRCNNConfig) -> MaskRCNN:
    """A Mask R-CNN: one stage of heads."""
    assigner = AssignerOptions(**options_of(config.train_cfg.rcnn.assigner))
    return _build(config, [StageOptions(1.0, assigner, tuple(config.bbox_head.bbox_coder.target_stds))])


def build_cascade_mask_rcnn(config: CascadeMaskRCNNConfig) -> MaskRCNN:
    """A Cascade Mask R-CNN: stages of rising IoU thresholds."""
    cascade = config.cascade
    rows = zip(cascade.stage_loss_weights, cascade.pos_iou_thr, cascade.target_stds, strict=True)
    low_quality = config.train_cfg.rcnn.assigner.match_low_quality
    stages = [
        StageOptions(weight, AssignerOptions(iou, iou, iou, low_quality), tuple(stds)) for weight, iou, stds in rows
    ]
    return _build(config, stages)


def selection_of(config: MaskRCNNConfig) -> RoISelection:
    """How the scores of regions become detections."""
    test = config.test_cfg.rcnn
    return RoISelection(**options_of(test, "mask_thr_binary"))


def _build(config: MaskRCNNConfig, stages: list[StageOptions]) -> MaskRCNN:
    rpn = config.rpn
    frames = [_frame_anchors(config, input_hw) for input_hw in config.input_shapes]
    return MaskRCNN(
        backbone=build_backbone(config.backbone),
        neck=FPN(**options_of(config.neck.fpn)),
        rpn=RegionProposals(
            head=RPNHead(rpn.in_channels, rpn.feat_channels, frames[0].targets.num_anchors),
            frames=frames,
            loss_bbox=box_loss_of(rpn.loss_bbox),
            weights=LossWeights(rpn.loss_cls.loss_weight, rpn.loss_bbox.loss_weight),
        ),
        roi_head=_roi_head(config, stages),
        selection=selection_of(config),
    )


def _frame_anchors(config: MaskRCNNConfig, input_hw: tuple[int, int]) -> FrameAnchors:
    rpn, train = config.rpn, config.train_cfg
    generator = AnchorGenerator(**options_of(rpn.anchor_generator))
    coder = DeltaXYWHBBoxCoder(rpn.bbox_coder.target_means, rpn.bbox_coder.target_stds)
    targets = RPNTargets(
        generator,
        generator.feature_sizes(*input_hw),
        coder,
        AssignerOptions(**options_of(train.rpn.assigner)),
        SamplerOptions(**options_of(train.rpn.sampler, "add_gt_as_proposals")),
        allowed_border=train.rpn.allowed_border,
    )

    def proposals(section: ProposalConfig) -> ProposalGenerator:
        return ProposalGenerator(targets.level_anchors, targets.num_anchors, coder, **options_of(section))

    return FrameAnchors(input_hw, targets, proposals(train.rpn_proposal), proposals(config.test_cfg.rpn))


def _roi_head(config: MaskRCNNConfig, stages: list[StageOptions]) -> RoIHead:
    head, mask_head = config.bbox_head, config.mask_head
    classes = config.num_classes - 1
    weights = (head.loss_cls.loss_weight, head.loss_bbox.loss_weight, mask_head.loss_mask.loss_weight)
    sizes = (head.in_channels, head.fc_out_channels, head.roi_feat_size, head.reg_class_agnostic)
    mask_sizes = (mask_head.num_convs, mask_head.in_channels, mask_head.conv_out_channels)
    bbox_heads = [Shared2FCBBoxHead(classes, *sizes) for _ in stages]
    mask_heads = [FCNMaskHead(*mask_sizes, classes) for _ in stages]
    loss_weights = [RoILossWeights(*(stage.loss_weight * weight for weight in weights)) for stage in stages]
    parts = zip(bbox_heads, mask_heads, _targets(config, stages), loss_weights, strict=True)
    return RoIHead(
        stages=[RoIStage(*part) for part in parts],
        bbox_extractor=_extractor(config.roi),
        mask_extractor=_extractor(config.mask_roi),
        mask_targets=MaskTargets(config.input_hw, config.train_cfg.rcnn.mask_size, config.mask_divider),
        bbox_loss=box_loss_of(head.loss_bbox),
        max_mask_rois=config.mask_roi.sample_num,
        class_agnostic=head.reg_class_agnostic,
    )


def _extractor(section: RoIExtractorConfig) -> SingleRoIExtractor:
    layer = section.roi_layer
    return SingleRoIExtractor(
        out_size=layer.out_size,
        featmap_strides=section.featmap_strides,
        sampling_ratio=layer.sampling_ratio,
        aligned=layer.aligned,
        finest_scale=section.finest_scale,
    )


def _targets(config: MaskRCNNConfig, stages: list[StageOptions]) -> list[RCNNTargets]:
    rcnn = config.train_cfg.rcnn
    count, result = config.train_cfg.rpn_proposal.max_per_img, []
    for index, stage in enumerate(stages):
        coder = DeltaXYWHBBoxCoder(config.bbox_head.bbox_coder.target_means, stage.target_stds)
        target = RCNNTargets(
            count,
            config.num_gts,
            config.num_classes - 1,
            coder,
            stage.assigner,
            SamplerOptions(**options_of(rcnn.sampler, "add_gt_as_proposals")),
            add_gt_as_proposals=rcnn.sampler.add_gt_as_proposals,
            table_seed=index,
        )
        count = target.num_rois  # the next stage's proposals are this one's boxes
        result.append(target)
    return result
