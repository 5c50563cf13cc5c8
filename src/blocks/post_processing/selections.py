"""How scores become detections: thresholds and counts of each kind of selection."""

from typing import Literal, NamedTuple

Suppression = Literal["greedy", "soft_linear", "soft_gaussian"]


class DenseSelection(NamedTuple):
    """Of the (anchor, class) pairs of a dense head, level by level.

    Attributes:
        score_thr: least score (exclusive).
        nms_pre: best pairs per level that take part.
        iou_threshold: of the suppression within a class.
        max_per_img: rows M of the result.
        min_bbox_size: boxes of smaller sides, in network pixels, are dropped.
        suppression, soft_sigma: what becomes of boxes that overlap a better one, see `suppressed`.
    """

    score_thr: float = 0.05
    nms_pre: int = 1000
    iou_threshold: float = 0.5
    max_per_img: int = 100
    min_bbox_size: float = 0.0
    suppression: Suppression = "greedy"
    soft_sigma: float = 0.5


class MultiBoxSelection(NamedTuple):
    """Of the anchors of an SSD-like detector, class by class.

    Attributes:
        score_thr: least score (exclusive).
        nms_pre: best boxes per class that take part.
        iou_threshold: of the suppression within a class.
        max_per_img: rows M of the result.
        suppression, soft_sigma: as of `DenseSelection`.
    """

    score_thr: float = 0.01
    nms_pre: int = 1000
    iou_threshold: float = 0.45
    max_per_img: int = 500
    suppression: Suppression = "greedy"
    soft_sigma: float = 0.5


class RoISelection(NamedTuple):
    """Of the (region, class) pairs of a RoI head.

    Attributes:
        score_thr: least score (exclusive).
        iou_threshold: of the suppression within a class.
        max_per_img: rows D of the result.
        suppression, soft_sigma: as of `DenseSelection`.
    """

    score_thr: float = 0.05
    iou_threshold: float = 0.5
    max_per_img: int = 100
    suppression: Suppression = "greedy"
    soft_sigma: float = 0.5
