"""Checkpoints of networks that are as small as they can be, with outputs that differ from place to place."""

from pathlib import Path

import mindspore as ms
import numpy as np

from src.config import load_config
from src.models import build_detector
from src.schema import Config
from src.weights.checkpoint import save_weights
from tests.end_to_end.commands import ROOT, TINY_MASK_CONFIG

SMALL = {
    "retinanet": f"""
base: {ROOT}/configs/demo/nas_fpn.yaml
backbone: {{base_channels: 8, stage_blocks: [1, 1, 1, 1]}}
neck: {{nas_fpn: {{in_channels: [16, 32, 64], out_channels: 16, stack_times: 1}}}}
bbox_head: {{in_channels: 16, feat_channels: 16, stacked_convs: 1, prior_prob: 0.1}}
test_cfg: {{max_per_img: 4}}
""",
    "refinedet": f"""
base: {ROOT}/configs/demo/refinedet.yaml
backbone: {{type: 'vgg16', base_channels: 4, with_bn: True}}
neck: {{out_channels: 16}}
test_cfg: {{score_thr: 0.2, max_per_img: 20}}
""",
    "mask_rcnn": TINY_MASK_CONFIG,
    "cascade_mask_rcnn": TINY_MASK_CONFIG + "detector: cascade_mask_rcnn\n",
}
# Initial outputs are nearly the same everywhere: these make them a thousandfold larger.
SCALED = {"retina_cls.weight": 30.0, "retina_reg.weight": 10.0, "fc_cls.weight": 30.0, "fc_reg.weight": 50.0}


def small_model(detector: str, folder: Path) -> Config:
    """The configuration of a small detector, with `checkpoint_path` written into `folder`."""
    path = folder / f"{detector}.yaml"
    path.write_text(SMALL[detector])
    overrides = {"device_target": "CPU", "checkpoint_path": str(folder / f"{detector}.ckpt")}
    if detector == "cascade_mask_rcnn":
        overrides["bbox_head.reg_class_agnostic"] = True
    config = load_config(path, overrides)
    ms.set_seed(1)
    arrays = {}
    for name, parameter in build_detector(config).parameters_dict().items():
        factor = next((value for ending, value in SCALED.items() if name.endswith(ending)), 1.0)
        arrays[name] = parameter.asnumpy() * np.float32(factor)
    save_weights(config.checkpoint_path, arrays, config)
    return config
