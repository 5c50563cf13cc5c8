"""All that is known about RefineDet outside its network (see `DetectorSpec`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.models.api import AnchorSpec, ClassBias, DetectorSpec, ExportSpec, RawForm
from src.models.backbones.spec import backbone_type, with_backbone
from src.models.backbones.table import BACKBONES
from src.models.paths import CONFIGS
from src.models.refinedet.checks import check
from src.models.refinedet.config import CENTER_OFFSET, RefineDetBackboneConfig, RefineDetConfig
from src.models.refinedet.weights import PORT

if TYPE_CHECKING:
    from src.models.refinedet.detector import RefineDet


def config_class(values: Mapping[str, Any]) -> type[RefineDetConfig]:
    """VGG-16 and the ResNets share the published section; another backbone brings its own."""
    section = BACKBONES[backbone_type(values, "vgg16", BACKBONES, ("reduced", "stages"))].section
    known = RefineDetBackboneConfig.published_sections
    return RefineDetConfig if section in known else with_backbone(RefineDetConfig, section)


def default_config(program: str, arguments: Mapping[str, Any]) -> Path | None:
    """The published commands `train.py`, `eval.py` and `export.py --ckpt_file ...` name none."""
    if program in ("train.py", "eval.py") or (program == "export.py" and "ckpt_file" in arguments):
        name = "refinedet_vgg16_320_voc.yaml" if arguments.get("dataset") == "voc" else "refinedet_vgg16_320.yaml"
        return CONFIGS / "refinedet" / name
    return None


def build(config: RefineDetConfig) -> "RefineDet":
    """The network."""
    from src.models.refinedet.build import build_refinedet

    return build_refinedet(config)


def raw_form(net: "RefineDet") -> RawForm:
    """Boxes and scores of all anchors."""
    from src.models.refinedet.export import RefineDetDecoded

    return RefineDetDecoded(net)


def selection(config: RefineDetConfig, level_sizes: Sequence[int]) -> dict[str, Any]:
    """The best boxes of each class, see `MultiBoxSelection`."""
    from src.models.refinedet.build import selection_of

    return {"kind": "classes", **selection_of(config)._asdict()}


REFINEDET = DetectorSpec(
    config_class=config_class,
    checks=check,
    build=build,
    export=ExportSpec(raw_form, selection, score_threshold=lambda config: config.test_cfg.score_thr),
    class_biases=(ClassBias("odm_head.conf_convs.0.bias", background=1),),
    anchors=AnchorSpec("bbox_head.anchor_generator", "train_cfg.pos_iou_thr", center_offset=CENTER_OFFSET),
    published_keys={"class_num": "num_classes", "image_shape": ("img_height", "img_width")},
    published_weights=(PORT,),
    default_config=default_config,
    own_data=CONFIGS / "refinedet" / "refinedet_r18_bccd_320.yaml",
)
