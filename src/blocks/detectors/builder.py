"""From a configuration to a network."""

from mindspore import nn

from src.blocks.detectors.mask_rcnn_builder import build_cascade_mask_rcnn, build_mask_rcnn
from src.blocks.detectors.refinedet_builder import build_refinedet
from src.blocks.detectors.retinanet_builder import build_retinanet

DETECTORS = {
    "retinanet": build_retinanet,
    "mask_rcnn": build_mask_rcnn,
    "cascade_mask_rcnn": build_cascade_mask_rcnn,
    "refinedet": build_refinedet,
}


def build_detector(config) -> nn.Cell:
    """The detector that a configuration describes, with initial weights.

    Args:
        config: a checked `Config`.

    Raises:
        UserError: the input size does not fit the network.
    """
    return DETECTORS[config.detector](config)
