"""How the raw outputs of an exported file, boxes and scores of all candidates, become detections.

The values stand in the file's card: `kind` levels (the best pairs of each level, see `DecodedSelection`) or classes
(the best boxes of each class, see `MultiBoxPostProcessor`), and what that selection takes.
"""

from collections.abc import Callable
from typing import Any

from src.blocks.post_processing import DecodedSelection, MultiBoxPostProcessor, MultiBoxSelection


def build_selection(values: dict[str, Any]) -> Callable:
    """(boxes [B,N,4], scores [B,N,K], image_info [B,6]) -> boxes, scores, labels, valid, as `values` say."""
    values = dict(values)
    if values.pop("kind") == "classes":
        return MultiBoxPostProcessor(MultiBoxSelection(**values))
    return DecodedSelection(**values)
