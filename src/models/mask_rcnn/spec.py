"""All that is known about Mask R-CNN and Cascade Mask R-CNN outside their network (see `DetectorSpec`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from src.common.errors import UserError
from src.models.api import AnchorSpec, ClassBias, DetectorSpec, ExportSpec, RawForm, RegionCounts
from src.models.backbones.spec import backbone_type, with_backbone
from src.models.backbones.table import BACKBONES
from src.models.mask_rcnn.checks import check
from src.models.mask_rcnn.config import CascadeMaskRCNNConfig, MaskRCNNConfig
from src.models.mask_rcnn.weights import MMDETECTION_1, TORCHVISION
from src.models.paths import CONFIGS

if TYPE_CHECKING:
    from src.models.mask_rcnn.detector import MaskRCNN


def config_class_of(base: type[MaskRCNNConfig]) -> Callable[[Mapping[str, Any]], type[MaskRCNNConfig]]:
    """`DetectorSpec.config_class` for Mask R-CNN or its cascade."""

    def config_class(values: Mapping[str, Any]) -> type[MaskRCNNConfig]:
        return with_backbone(base, BACKBONES[backbone_type(values, "resnet", BACKBONES, ("stages",))].section)

    return config_class


def build(config: MaskRCNNConfig) -> "MaskRCNN":
    """The network of a Mask R-CNN: one stage of heads."""
    from src.models.mask_rcnn.build import build_mask_rcnn

    return build_mask_rcnn(config)


def build_cascade(config: CascadeMaskRCNNConfig) -> "MaskRCNN":
    """The network of a Cascade Mask R-CNN: stages of rising IoU thresholds."""
    from src.models.mask_rcnn.build import build_cascade_mask_rcnn

    return build_cascade_mask_rcnn(config)


def raw_form(net: "MaskRCNN") -> RawForm:
    """Boxes and scores of all regions, without masks."""
    from src.models.mask_rcnn.export import MaskRCNNDecoded

    return MaskRCNNDecoded(net)


def region_counts(net: "MaskRCNN", config: MaskRCNNConfig) -> RegionCounts:
    """Work of the box and mask heads."""
    from src.models.mask_rcnn.region_counts import count

    return count(net, config)


def selection(config: MaskRCNNConfig, level_sizes: Sequence[int]) -> dict[str, Any]:
    """Every (region, class) pair over the threshold takes part, see `DenseSelection`."""
    from src.blocks.post_processing import DenseSelection
    from src.models.mask_rcnn.build import selection_of

    pairs = sum(level_sizes) * (config.num_classes - 1)
    chosen = DenseSelection(**selection_of(config)._asdict(), nms_pre=pairs)
    return {"kind": "levels", "level_sizes": list(level_sizes), **chosen._asdict()}


def rois_are_aligned(config: MaskRCNNConfig) -> bool:
    """Whether boxes and masks are pooled from the centres of pixels.

    Raises:
        UserError: the ones are, the others are not.
    """
    aligned, of_masks = config.roi.roi_layer.aligned, config.mask_roi.roi_layer.aligned
    if aligned != of_masks:
        raise UserError(
            f"ONNX: roi.roi_layer.aligned is {aligned}, but mask_roi.roi_layer.aligned {of_masks}; make them equal, "
            "or export MINDIR"
        )
    return aligned


MASK_RCNN = DetectorSpec(
    config_class=config_class_of(MaskRCNNConfig),
    checks=check,
    build=build,
    export=ExportSpec(
        raw_form,
        selection,
        score_threshold=lambda config: config.test_cfg.rcnn.score_thr,
        default_form="detections",
        dynamic_batch=False,
        fixed_rows=False,
        rois_are_aligned=rois_are_aligned,
    ),
    class_biases=(
        ClassBias("roi_head.bbox_head.fc_cls.bias", background=1),
        ClassBias("roi_head.bbox_head.0.fc_cls.bias", background=1),
    ),
    anchors=AnchorSpec("rpn.anchor_generator", "train_cfg.rpn.assigner.pos_iou_thr"),
    published_weights=(MMDETECTION_1, TORCHVISION),
    region_counts=region_counts,
    takes_turned_frame=True,
    own_data=CONFIGS / "instaboost" / "mask_rcnn_r18_nuclei_384.yaml",
)
# One class of networks: formats of published weights are looked for once, under Mask R-CNN.
CASCADE_MASK_RCNN = replace(
    MASK_RCNN,
    config_class=config_class_of(CascadeMaskRCNNConfig),
    build=build_cascade,
    published_weights=(),
    own_data=CONFIGS / "demo" / "cascade_mask_rcnn.yaml",
)
