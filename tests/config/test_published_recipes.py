"""The configurations that carry a published training recipe, against its settings."""

import pytest

from src.config import load_config
from tests.conftest import ROOT

SGD = {"opt_type": "sgd", "momentum": 0.9, "lr_type": "multistep", "warmup_ratio": 0.1}
IMAGES = {
    "keep_ratio": 1,
    "flip_ratio": 0.5,
    "expand_ratio": 0.0,
    "to_rgb": 1,
    "img_mean": [123.675, 116.28, 103.53],
    "img_std": [58.395, 57.12, 57.375],
}
# mmdetection: configs/nas_fpn/retinanet_r50_nasfpn_crop640_50e_coco.py
NAS_FPN = SGD | IMAGES | {
    "lr": 0.08,
    "base_batch_size": 64,
    "weight_decay": 1e-4,
    "warmup_step": 1000,
    "lr_steps": [30, 40],
    "epoch_size": 50,
    "grad_clip": 0,
    "img_width": 640,
    "img_height": 640,
    "divider": 128,
    "ratio_range": [0.8, 1.2],
    "batch_size": 8,
    "backbone.frozen_stages": 1,
    "backbone.norm_eval": False,
    "train_cfg.assigner.pos_iou_thr": 0.5,
    "train_cfg.assigner.neg_iou_thr": 0.5,
    "bbox_head.anchor_generator.octave_base_scale": 4,
    "bbox_head.loss_bbox.type": "l1",
}  # fmt: skip
# lucifer443/SpineNet-Pytorch: configs/spinenet/spinenet_49_B_8gpu.py
SPINENET = SGD | IMAGES | {
    "lr": 0.07,
    "base_batch_size": 64,
    "weight_decay": 4e-5,
    "warmup_step": 8000,
    "lr_steps": [320, 340],
    "epoch_size": 350,
    "grad_clip": 10,
    "img_width": 640,
    "img_height": 640,
    "ratio_range": [0.5, 2.0],
    "batch_size": 8,
    "backbone.norm_cfg.type": "SyncBN",
    "backbone.norm_cfg.momentum": 0.01,
    "bbox_head.norm_cfg.type": "SyncBN",
    "bbox_head.norm_cfg.eps": 1e-3,
    "bbox_head.anchor_generator.octave_base_scale": 3,
    "bbox_head.loss_bbox.beta": 0.11,
}  # fmt: skip
# The larger ones: spinenet_143_B_8gpu.py there, and the TensorFlow model garden's coco_spinenet190_tpu.yaml
LARGE = {"bbox_head.anchor_generator.octave_base_scale": 4, "img_width": 1280}
RECIPES = {
    "nas_fpn/retinanet_r50_nasfpn_640_50e": NAS_FPN,
    "spinenet_retinanet/retinanet_spinenet_49_640_350e": SPINENET,
    "spinenet_retinanet/retinanet_spinenet_143_1280": LARGE | {"ratio_range": [0.1, 1.9]},
    "spinenet_retinanet/retinanet_spinenet_190_1280": LARGE | {"ratio_range": [0.1, 2.0]},
}


@pytest.mark.parametrize("path", RECIPES)
def test_settings(path: str) -> None:
    config = load_config(ROOT / f"configs/{path}.yaml")
    for name, expected in RECIPES[path].items():
        value = config
        for part in name.split("."):
            value = getattr(value, part)
        assert value == expected, name
