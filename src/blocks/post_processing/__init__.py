"""From raw outputs to detections: values (`*Selection`), on the host (`*PostProcessor`), in graphs."""

from src.blocks.post_processing.decoded_post_processor import DecodedPostProcessor
from src.blocks.post_processing.dense_graph_selection import DenseGraphSelection
from src.blocks.post_processing.dense_post_processor import DensePostProcessor
from src.blocks.post_processing.multibox_selection import MultiBoxGraphSelection, MultiBoxPostProcessor
from src.blocks.post_processing.multiclass_nms import MulticlassNMS
from src.blocks.post_processing.roi_selection import RoIGraphSelection, RoIPostProcessor
from src.blocks.post_processing.selections import DenseSelection, MultiBoxSelection, RoISelection

__all__ = [
    "DecodedPostProcessor",
    "DenseGraphSelection",
    "DensePostProcessor",
    "DenseSelection",
    "MultiBoxGraphSelection",
    "MultiBoxPostProcessor",
    "MultiBoxSelection",
    "MulticlassNMS",
    "RoIGraphSelection",
    "RoIPostProcessor",
    "RoISelection",
]
