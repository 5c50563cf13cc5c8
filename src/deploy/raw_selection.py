"""How the raw outputs of an exported file, boxes and scores of all candidates, become detections.

The values stand in the file's card: `kind` levels (the best pairs of each level: `level_sizes` and the fields of a
`DenseSelection`) or classes (the best boxes of each class: the fields of a `MultiBoxSelection`).
"""

from collections.abc import Callable
from typing import Any

from src.blocks.post_processing import DecodedPostProcessor, DenseSelection, MultiBoxPostProcessor, MultiBoxSelection


def build_selection(values: dict[str, Any]) -> Callable:
    """(boxes [B,N,4], scores [B,N,K], image_info [B,6]) -> boxes, scores, labels, valid, as `values` say."""
    values = dict(values)
    if values.pop("kind") == "classes":
        return MultiBoxPostProcessor(MultiBoxSelection(**values))
    level_sizes = values.pop("level_sizes")
    return DecodedPostProcessor(level_sizes, DenseSelection(**values))
