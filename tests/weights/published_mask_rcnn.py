"""Mask R-CNN's weights under the names that others publish them by."""

import re

import numpy as np

from src.models.mask_rcnn.weights import COCO_GAPS, COCO_IDS, COCO_ROWS

# mmdetection's modules in torchvision: (pattern, replacement today, replacement before version 0.13)
TORCHVISION = (
    (r"backbone\.(.+)", r"backbone.body.\1", None),
    (r"neck\.lateral_convs\.(\d)\.conv", r"backbone.fpn.inner_blocks.\1.0", r"backbone.fpn.inner_blocks.\1"),
    (r"neck\.fpn_convs\.(\d)\.conv", r"backbone.fpn.layer_blocks.\1.0", r"backbone.fpn.layer_blocks.\1"),
    (r"rpn_head\.rpn_conv", "rpn.head.conv.0.0", "rpn.head.conv"),
    (r"rpn_head\.rpn_cls", "rpn.head.cls_logits", None),
    (r"rpn_head\.rpn_reg", "rpn.head.bbox_pred", None),
    (r"roi_head\.bbox_head\.shared_fcs\.0", "roi_heads.box_head.fc6", None),
    (r"roi_head\.bbox_head\.shared_fcs\.1", "roi_heads.box_head.fc7", None),
    (r"roi_head\.bbox_head\.fc_cls", "roi_heads.box_predictor.cls_score", None),
    (r"roi_head\.bbox_head\.fc_reg", "roi_heads.box_predictor.bbox_pred", None),
    (r"roi_head\.mask_head\.convs\.0\.conv", "roi_heads.mask_head.0.0", "roi_heads.mask_head.mask_fcn1"),
    (r"roi_head\.mask_head\.convs\.1\.conv", "roi_heads.mask_head.1.0", "roi_heads.mask_head.mask_fcn2"),
    (r"roi_head\.mask_head\.convs\.2\.conv", "roi_heads.mask_head.2.0", "roi_heads.mask_head.mask_fcn3"),
    (r"roi_head\.mask_head\.convs\.3\.conv", "roi_heads.mask_head.3.0", "roi_heads.mask_head.mask_fcn4"),
    (r"roi_head\.mask_head\.upsample", "roi_heads.mask_predictor.conv5_mask", None),
    (r"roi_head\.mask_head\.conv_logits", "roi_heads.mask_predictor.mask_fcn_logits", None),
)
TO_PUBLISHED = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
UNUSED_BIAS = -30  # of classes that do not exist: their probability vanishes


def published_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """This project's names -> mmdetection's."""
    renamed = {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        renamed[f"{module}.{TO_PUBLISHED.get(leaf, leaf)}"] = array
    return renamed


def torchvision_state(state: dict[str, np.ndarray], old_names: bool = False) -> dict[str, np.ndarray]:
    """mmdetection's Mask R-CNN of COCO's 80 classes -> torchvision's of 91 rows."""
    return {_torchvision_name(name, old_names): _in_rows(name, array) for name, array in state.items()}


def _torchvision_name(name: str, old: bool) -> str:
    module, _, leaf = name.rpartition(".")
    for pattern, new_name, old_name in TORCHVISION:
        if match := re.fullmatch(pattern, module):
            return f"{match.expand(old_name if old and old_name else new_name)}.{leaf}"
    raise KeyError(name)


def _in_rows(name: str, array: np.ndarray) -> np.ndarray:
    ids = list(COCO_IDS.values())
    if ".fc_cls." in name:
        rows = np.full((COCO_ROWS, *array.shape[1:]), UNUSED_BIAS if array.ndim == 1 else 0, np.float32)
        rows[ids], rows[0] = array[:-1], array[-1]
        return rows
    if ".fc_reg." in name or ".conv_logits." in name:
        by_class = array.reshape(len(ids), -1, *array.shape[1:])
        rows = np.zeros((COCO_ROWS, *by_class.shape[1:]), np.float32)
        rows[ids] = by_class
        return rows.reshape(-1, *array.shape[1:])
    assert len(ids) + len(COCO_GAPS) + 1 == COCO_ROWS
    return array
