"""How the raw outputs of an exported file, boxes and scores of all candidates, become detections.

The values stand in the file's card: `kind` levels (the best pairs of each level, see `DecodedSelection`) or classes
(the best boxes of each class, see `MultiBoxPostProcessor`), and what that selection takes.
"""

from collections.abc import Callable, Sequence
from typing import Any

from src.blocks.post_processing import DecodedSelection, MultiBoxPostProcessor, MultiBoxSelection
from src.model_utils.config import Config


def selection_values(config: Config, level_sizes: Sequence[int]) -> dict[str, Any]:
    """What a configuration's `test_cfg` says about selecting among its raw outputs.

    Args:
        config: of the detector.
        level_sizes: rows of each level of the raw outputs.
    """
    test = config.test_cfg
    if config.detector == "refinedet":
        return {"kind": "classes", **test.model_dump()}
    if config.with_masks:  # every (region, class) pair over the threshold takes part
        pairs = sum(level_sizes) * (config.num_classes - 1)
        chosen = {**test.rcnn.model_dump(include={"score_thr", "iou_threshold", "max_per_img"}), "nms_pre": pairs}
        return {"kind": "levels", "level_sizes": list(level_sizes), **chosen, "min_bbox_size": 0.0}
    chosen = test.model_dump(include={"score_thr", "nms_pre", "max_per_img", "min_bbox_size"})
    chosen["iou_threshold"] = test.nms.iou_threshold
    return {"kind": "levels", "level_sizes": list(level_sizes), **chosen}


def build_selection(values: dict[str, Any]) -> Callable:
    """(boxes [B,N,4], scores [B,N,K], image_info [B,6]) -> boxes, scores, labels, valid, as `values` say."""
    values = dict(values)
    if values.pop("kind") == "classes":
        return MultiBoxPostProcessor(MultiBoxSelection(**values))
    return DecodedSelection(**values)
