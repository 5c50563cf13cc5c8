"""All that is known about RetinaNet outside its network (see `DetectorSpec`)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.common.errors import UserError
from src.models.api import AnchorSpec, Arrays, ClassBias, DetectorSpec, ExportSpec, PublishedFormat, RawForm
from src.models.backbones.spec import backbone_type, with_backbone
from src.models.backbones.table import BACKBONES
from src.models.paths import CONFIGS
from src.models.retinanet.checks import check
from src.models.retinanet.config import NASFPNRetinaNetConfig, RetinaNetConfig, SpineNetRetinaNetConfig

if TYPE_CHECKING:
    from src.models.retinanet.detector import RetinaNet

# mmdetection lists the head's shared convolutions once per level; this project holds level 0's.
SHARED_CONV = re.compile(r"^bbox_head\.(cls|reg)_convs\.(\d+)\.(\d+)\.conv\.")


def config_class(values: Mapping[str, Any]) -> type[RetinaNetConfig]:
    """The backbone decides whether there is a neck."""
    name = backbone_type(values, "spinenet", BACKBONES, ("pyramid", "stages"))
    backbone = BACKBONES[name]
    base = SpineNetRetinaNetConfig if backbone.maps == "pyramid" else NASFPNRetinaNetConfig
    return with_backbone(base, backbone.section)


def default_config(program: str, arguments: Mapping[str, Any]) -> Path | None:
    """The published NAS-FPN commands `create_data.py ...` and `export.py --checkpoint_path ...` name none."""
    if program == "create_data.py" or (program == "export.py" and "ckpt_file" not in arguments):
        return CONFIGS / "nas_fpn/retinanet_r50_nasfpn_640.yaml"
    return None


def merge_shared(arrays: Arrays) -> Arrays:
    """Drop the other levels' names of shared convolutions, which must hold the same values.

    Raises:
        UserError: they do not.
    """
    kept = {}
    for name, array in arrays.items():
        match = SHARED_CONV.match(name)
        if match is None or match[2] == "0":
            kept[name] = array
            continue
        first = arrays.get(SHARED_CONV.sub(rf"bbox_head.{match[1]}_convs.0.{match[3]}.conv.", name))
        if first is None or not np.array_equal(first, array):
            raise UserError(f"{name} differs from level 0's, but this head shares its convolutions over the levels")
    return kept


def build(config: RetinaNetConfig) -> "RetinaNet":
    """The network."""
    from src.models.retinanet.build import build_retinanet

    return build_retinanet(config)


def raw_form(net: "RetinaNet") -> RawForm:
    """Boxes and scores of all anchors."""
    from src.models.retinanet.export import RetinaNetDecoded

    return RetinaNetDecoded(net)


def selection(config: RetinaNetConfig, level_sizes: Sequence[int]) -> dict[str, Any]:
    """The best pairs of each level, see `DenseSelection`."""
    from src.models.retinanet.build import selection_of

    return {"kind": "levels", "level_sizes": list(level_sizes), **selection_of(config)._asdict()}


RETINANET = DetectorSpec(
    config_class=config_class,
    checks=check,
    build=build,
    export=ExportSpec(raw_form, selection, score_threshold=lambda config: config.test_cfg.score_thr),
    class_biases=(ClassBias("bbox_head.retina_cls.bias", background=0),),
    anchors=AnchorSpec("bbox_head.anchor_generator", "train_cfg.assigner.pos_iou_thr"),
    published_keys={
        "match_thershold": ("train_cfg.assigner.pos_iou_thr", "train_cfg.assigner.neg_iou_thr"),
        "nms_thershold": "test_cfg.nms.iou_threshold",
        "min_score": "test_cfg.score_thr",
        "max_boxes": "test_cfg.max_per_img",
        "gamma": "bbox_head.loss_cls.gamma",
        "alpha": "bbox_head.loss_cls.alpha",
        "nasfpn_input_channels": "neck.nas_fpn.in_channels",
        "nasfpn_out_channel": "neck.nas_fpn.out_channels",
        "nasfpn_num_outs": "neck.nas_fpn.num_outs",
        "nasfpn_stack_times": "neck.nas_fpn.stack_times",
        "nasfpn_start_level": "neck.nas_fpn.start_level",
        "nasfpn_end_level": "neck.nas_fpn.end_level",
    },
    published_weights=(
        PublishedFormat(
            matches=lambda arrays: any(SHARED_CONV.match(name) for name in arrays),
            convert=lambda arrays, config: merge_shared(arrays),
            backbone=lambda arrays, eps: arrays,
        ),
    ),
    default_config=default_config,
    own_data=CONFIGS / "spinenet_retinanet" / "retinanet_spinenet_bccd_384.yaml",
)
