"""From raw outputs to detections."""

from src.blocks.post_processing.decoded_selection import DecodedSelection
from src.blocks.post_processing.dense_selection import DensePostProcessor
from src.blocks.post_processing.graph_selection import GraphSelection
from src.blocks.post_processing.multibox_selection import (
    MultiBoxGraphSelection,
    MultiBoxPostProcessor,
    MultiBoxSelection,
)
from src.blocks.post_processing.multiclass_nms import MulticlassNMS
from src.blocks.post_processing.roi_selection import RoIGraphSelection, RoIPostProcessor, RoISelection
from src.ops.nms.nms import class_wise_nms

__all__ = [
    "DecodedSelection",
    "DensePostProcessor",
    "GraphSelection",
    "MultiBoxGraphSelection",
    "MultiBoxPostProcessor",
    "MultiBoxSelection",
    "MulticlassNMS",
    "RoIGraphSelection",
    "RoIPostProcessor",
    "RoISelection",
    "class_wise_nms",
]
