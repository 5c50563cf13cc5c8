"""Multiply-accumulate operations of the box and mask heads, which depend on the number of regions."""

from functools import partial

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.models.api import RegionCounts
from src.models.counting import macs_of_layers
from src.models.mask_rcnn.config import MaskRCNNConfig
from src.models.mask_rcnn.detector import MaskRCNN


def count(net: MaskRCNN, config: MaskRCNNConfig) -> RegionCounts:
    """Counted on one region, for as many proposals and detections as the configuration keeps at most."""
    num_rois, num_masks = config.test_cfg.rpn.max_per_img, config.test_cfg.rcnn.max_per_img
    head = net.roi_head
    heads = [(head.bbox_head, config.roi, num_rois), (head.mask_head, config.mask_roi, num_masks)]
    macs: dict[str, int] = {}
    for cells, section, regions in heads:
        side = section.roi_layer.out_size
        features = Tensor(np.zeros((1, config.neck.fpn.out_channels, side, side), np.float32), ms.float32)
        for cell in [cells] if head.num_stages == 1 else cells:
            found = macs_of_layers(net, partial(cell, features))
            macs |= {name: regions * value for name, value in found.items()}
    return RegionCounts(macs, num_rois, num_masks)
