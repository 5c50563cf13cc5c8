"""Fixtures of two-stage detectors: networks with the oracles' weights, and the oracles' batches."""

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from src.config import load_config
from src.models import build_detector
from src.weights.checkpoint import load_weights
from src.weights.convert import convert_weights
from tests.blocks import oracle

CONFIGS = Path(__file__).parents[2] / "configs" / "instaboost"
EXPERIMENTS = {"mask_r50": "mask_rcnn_r50_fpn.yaml", "cascade_r50": "cascade_mask_rcnn_r50_fpn.yaml"}
NOTHING_DROPPED = {
    "num_gts": 6,
    "train_cfg.rpn_proposal.max_per_img": 200,
    "train_cfg.rpn_proposal.nms_pre": 1000,
    "train_cfg.rpn.sampler.num": 10**7,
    "train_cfg.rcnn.sampler.num": 10**6,
    "roi.sample_num": 10**6,
    "mask_roi.sample_num": 10**6,
}


def published_detector(model: str, image_hw: tuple[int, int], seed: int, **overrides) -> nn.Cell:
    """The detector of an oracle with its seeded weights, converted as a user would."""
    size = {"img_height": image_hw[0], "img_width": image_hw[1], "divider": 32}
    config = load_config(CONFIGS / EXPERIMENTS[model], size | overrides)
    net = build_detector(config)
    load_weights(net, convert_weights(oracle.published_state(model, seed), config))
    return net


def training_batch(expected: dict[str, np.ndarray], objects: int) -> list[ms.Tensor]:
    """image, image_info, boxes, labels, valid and whole bitmaps of the masks."""
    images = expected["x"].astype(np.float32)
    count, _, height, width = images.shape
    info = np.ones((count, 6), np.float32)
    boxes = np.zeros((count, objects, 4), np.float32)
    labels, valid = np.zeros((count, objects), np.int32), np.zeros((count, objects), bool)
    masks = np.zeros((count, objects, height, width), np.uint8)
    for i in range(count):
        shape = expected[f"gt{i}/masks_shape"]
        found = len(expected[f"gt{i}/boxes"])
        info[i, :4] = (*expected["img_hw"][i], *expected["img_hw"][i])
        boxes[i, :found], labels[i, :found] = expected[f"gt{i}/boxes"], expected[f"gt{i}/labels"]
        valid[i, :found] = True
        bits = np.unpackbits(expected[f"gt{i}/masks"])[: np.prod(shape)].reshape(shape)
        masks[i, :found, : shape[1], : shape[2]] = bits
    return [ms.Tensor(array) for array in (images, info, boxes, labels, valid, masks)]
