"""All that is known about the toy detector outside its network."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from centre.config import CentreConfig, check

from src.models.api import Arrays, ClassBias, DetectorSpec, ExportSpec, PublishedFormat

if TYPE_CHECKING:
    from centre.detector import CentreDetector


def config_class(values: Mapping[str, Any]) -> type[CentreConfig]:
    """The toy has but one."""
    return CentreConfig


def build(config: CentreConfig) -> "CentreDetector":
    """The network."""
    from centre.detector import CentreDetector

    from src.blocks.post_processing import DecodedPostProcessor, DenseSelection

    head = config.bbox_head
    height, width = config.input_hw
    cells = height // head.stride * (width // head.stride)
    select = DecodedPostProcessor([cells], DenseSelection(nms_pre=100, **config.test_cfg.model_dump()))
    return CentreDetector(config.num_classes - 1, head.channels, head.stride, config.input_hw, select)


def selection(config: CentreConfig, level_sizes: Sequence[int]) -> dict[str, Any]:
    """The best pairs of the one level."""
    return {"kind": "levels", "level_sizes": list(level_sizes), "nms_pre": 100, **config.test_cfg.model_dump()}


def from_their_names(arrays: Arrays) -> Arrays:
    """Weights as somebody else published them: `classes.*` and `boxes.*` instead of `cls_conv.*` and `box_conv.*`."""
    names = {"classes.": "cls_conv.", "boxes.": "box_conv."}
    return {
        next(
            (ours + name.removeprefix(theirs) for theirs, ours in names.items() if name.startswith(theirs)), name
        ): array
        for name, array in arrays.items()
    }


SPEC = DetectorSpec(
    config_class=config_class,
    checks=check,
    build=build,
    export=ExportSpec(
        raw_form=lambda net: net,
        selection=selection,
        score_threshold=lambda config: config.test_cfg.score_thr,
    ),
    class_biases=(ClassBias("cls_conv.bias", background=0),),
    published_weights=(
        PublishedFormat(
            matches=lambda arrays: "classes.bias" in arrays,
            convert=lambda arrays, config: from_their_names(arrays),
            backbone=lambda arrays, eps: arrays,
        ),
    ),
)
