"""torchvision's maskrcnn_resnet50_fpn under mmdetection's names, which this project's follow.

Beside the names it differs in the order of the classes (background first, then COCO's ids with their gaps), in the
epsilon of its batch normalizations, and in what a configuration says: RoIAlign's sampling, normalization of images,
anchors. The former are converted, the latter compared with the configuration.
"""

import logging
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from src.common.errors import UserError
from src.models.api import Arrays, PublishedFormat
from src.models.backbones.epsilon import rescaled_gammas
from src.models.mask_rcnn.config import CascadeMaskRCNNConfig, MaskRCNNConfig
from src.schema import Config, lookup

logger = logging.getLogger(__name__)

# (pattern, replacement) of whole module names; the names before 0.13 first, where they differ.
MODULES = (
    (r"backbone\.body\.(.+)", r"backbone.\1"),
    (r"backbone\.fpn\.inner_blocks\.(\d)(\.0)?", r"neck.lateral_convs.\1.conv"),
    (r"backbone\.fpn\.layer_blocks\.(\d)(\.0)?", r"neck.fpn_convs.\1.conv"),
    (r"rpn\.head\.conv(\.0\.0)?", r"rpn_head.rpn_conv"),
    (r"rpn\.head\.cls_logits", r"rpn_head.rpn_cls"),
    (r"rpn\.head\.bbox_pred", r"rpn_head.rpn_reg"),
    (r"roi_heads\.box_head\.fc6", r"roi_head.bbox_head.shared_fcs.0"),
    (r"roi_heads\.box_head\.fc7", r"roi_head.bbox_head.shared_fcs.1"),
    (r"roi_heads\.box_predictor\.cls_score", r"roi_head.bbox_head.fc_cls"),
    (r"roi_heads\.box_predictor\.bbox_pred", r"roi_head.bbox_head.fc_reg"),
    (r"roi_heads\.mask_head\.(\d)\.0", r"roi_head.mask_head.convs.\1.conv"),
    (r"roi_heads\.mask_predictor\.conv5_mask", r"roi_head.mask_head.upsample"),
    (r"roi_heads\.mask_predictor\.mask_fcn_logits", r"roi_head.mask_head.conv_logits"),
)
OLD_MASK_CONV = re.compile(r"roi_heads\.mask_head\.mask_fcn(\d)")
OLD_RPN_CONV = "rpn.head.conv.weight"
V2_NAMES = ("rpn.head.conv.1.0.weight", "backbone.fpn.inner_blocks.0.1.weight", "roi_heads.box_head.0.0.weight")
# Published weights (with the old names) were trained without an epsilon, later ones with PyTorch's.
OLD_EPS, NEW_EPS = 0.0, 1e-5

# What torchvision computes, in the configuration's keys.
SETTINGS = {
    "img_mean": [123.675, 116.28, 103.53],  # torchvision's 0.485, 0.456, 0.406 of images in 0..1
    "img_std": [58.395, 57.12, 57.375],
    "to_rgb": True,
    "rpn.anchor_generator.scales": [8],  # sides 32 to 512 at strides 4 to 64
    "rpn.anchor_generator.strides": [4, 8, 16, 32, 64],
    "rpn.anchor_generator.ratios": [0.5, 1, 2],
    "rpn.anchor_generator.rounded": True,
    "rpn.bbox_coder.target_means": [0, 0, 0, 0],
    "rpn.bbox_coder.target_stds": [1, 1, 1, 1],
    "bbox_head.bbox_coder.target_means": [0, 0, 0, 0],
    "bbox_head.bbox_coder.target_stds": [0.1, 0.1, 0.2, 0.2],  # its weights 10, 10, 5, 5 multiply
    "bbox_head.reg_class_agnostic": False,
    "roi.roi_layer.sampling_ratio": 2,
    "roi.roi_layer.aligned": False,
    "roi.featmap_strides": [4, 8, 16, 32],
    "roi.finest_scale": 56,
    "mask_roi.roi_layer.sampling_ratio": 2,
    "mask_roi.roi_layer.aligned": False,
    "mask_roi.featmap_strides": [4, 8, 16, 32],
    "mask_roi.finest_scale": 56,
}

COCO_ROWS = 91  # background at 0, then COCO's ids 1 to 90
COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # ids that are no class any more
COCO_NAMES = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli,
carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote,
keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier,
toothbrush""".replace("\n", " ").split(", ")
COCO_IDS = dict(zip(COCO_NAMES, (i for i in range(1, COCO_ROWS) if i not in COCO_GAPS), strict=True))


def is_torchvision(arrays: Arrays) -> bool:
    """Whether these are the names of torchvision's Faster or Mask R-CNN."""
    return any(name.startswith(("backbone.body.", "roi_heads.")) for name in arrays)


def from_torchvision(arrays: Arrays, config: Config) -> Arrays:
    """Weights of torchvision's maskrcnn_resnet50_fpn by mmdetection's names.

    Args:
        arrays: {torchvision's name: array}, by the names of any of its versions.
        config: a checked `Config`.

    Returns:
        {mmdetection's name: array}. Classes are in the configuration's order, background last. Where the batch
        normalizations' epsilon is another than the configuration's, gammas are scaled so that outputs are the same.

    Raises:
        UserError: another architecture, or a configuration that computes something else than torchvision; the message
            names the keys to set.
    """
    if any(name in arrays for name in V2_NAMES):
        raise UserError(
            "these are weights of torchvision's maskrcnn_resnet50_fpn_v2, whose FPN and heads have layers that this"
            " network does not have; maskrcnn_resnet50_fpn converts"
        )
    if not isinstance(config, MaskRCNNConfig) or isinstance(config, CascadeMaskRCNNConfig):
        raise UserError(
            f"these are weights of torchvision's Mask R-CNN, but {config.config_path} is for {config.detector}: convert"
            " with detector: mask_rcnn, or give the file to backbone.pretrained, which takes its backbone"
        )
    _check_settings(config)
    renamed = {_rename(name): array for name, array in arrays.items()}
    their_eps = OLD_EPS if OLD_RPN_CONV in arrays else NEW_EPS
    renamed |= rescaled_gammas(renamed, their_eps, config.backbone.norm_cfg.eps)
    return renamed | _in_class_order(renamed, config)


def backbone_from_torchvision(arrays: Arrays, eps: float) -> Arrays:
    """The backbone alone, with `backbone.` before its names, for batch normalizations with `eps`."""
    renamed = {_rename(name): array for name, array in arrays.items() if name.startswith("backbone.body.")}
    return renamed | rescaled_gammas(renamed, OLD_EPS if OLD_RPN_CONV in arrays else NEW_EPS, eps)


def _rename(name: str) -> str:
    module, _, leaf = name.rpartition(".")
    if match := OLD_MASK_CONV.fullmatch(module):
        return f"roi_head.mask_head.convs.{int(match[1]) - 1}.conv.{leaf}"
    for pattern, replacement in MODULES:
        if match := re.fullmatch(pattern, module):
            return f"{match.expand(replacement)}.{leaf}"
    return name


def _check_settings(config: Config) -> None:
    wrong = [f"{key}: {wanted}" for key, wanted in SETTINGS.items() if not _equal(lookup(config, key), wanted)]
    if wrong:
        raise UserError(
            f"torchvision's weights need other keys than those of {config.config_path}; set " + ", ".join(wrong)
        )


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return len(value) == len(wanted) and bool(np.allclose(value, wanted, rtol=1e-4))
    return value == wanted


def _in_class_order(arrays: Arrays, config: Config) -> Arrays:
    """Outputs per class, rows chosen and ordered as the configuration's classes, background last."""
    scores = arrays.get("roi_head.bbox_head.fc_cls.bias")
    if scores is None:
        return {}
    rows = _rows_of_classes(len(scores), config)
    ordered = {}
    for name, array in _class_outputs(arrays):
        by_class = array.reshape(len(scores), -1, *array.shape[1:])  # boxes have four rows per class
        chosen = [*rows, 0] if "fc_cls" in name else rows
        ordered[name] = by_class[chosen].reshape(-1, *array.shape[1:])
    return ordered


def _class_outputs(arrays: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    for layer in ("bbox_head.fc_cls", "bbox_head.fc_reg", "mask_head.conv_logits"):
        for leaf in ("weight", "bias"):
            name = f"roi_head.{layer}.{leaf}"
            if name in arrays:
                yield name, arrays[name]


def _rows_of_classes(rows: int, config: Config) -> list[int]:
    names = config.class_names
    if rows != COCO_ROWS:
        if rows != len(names) + 1:
            raise UserError(
                f"the weights have {rows - 1} classes without background, coco_classes {len(names)}; they must be the"
                " same, in the order of the weights' labels"
            )
        return list(range(1, rows))
    unknown = [name for name in names if name not in COCO_IDS]
    if unknown:
        raise UserError(
            f"the weights' classes are COCO's, and coco_classes has others: {', '.join(unknown[:5])}; convert with"
            " COCO's names, then train your own classes from the result with finetune: 1"
        )
    if len(names) < len(COCO_IDS):
        logger.warning(
            "%d of COCO's %d classes are kept: their scores are normalized over these alone, so train before use",
            len(names),
            len(COCO_IDS),
        )
    return [COCO_IDS[name] for name in names]


# Heads that stand at the top in mmdetection 1 and under roi_head since.
_MMDETECTION_1 = re.compile(r"^(bbox_head\.(\d\.)?(shared_fcs|fc_cls)|mask_head)\.")


def _refuse_mmdetection_1(*_: object) -> NoReturn:
    raise UserError(
        "these are weights of mmdetection 1, whose classes and boxes are encoded in another way; convert them with"
        " mmdetection 2's tools/model_converters/upgrade_model_version.py first"
    )


MMDETECTION_1 = PublishedFormat(
    matches=lambda arrays: any(_MMDETECTION_1.match(name) for name in arrays),
    convert=_refuse_mmdetection_1,
    backbone=_refuse_mmdetection_1,
)
TORCHVISION = PublishedFormat(is_torchvision, from_torchvision, backbone_from_torchvision)
