"""Every configuration key: name, type, default, allowed values and the comment that `--help` shows.

Keys and meanings follow the published READMEs; keys this project adds say so in their comment only where it matters.
Checks that need more than one key are in `config_checks.py`.
"""

from src.model_utils.config_schema.experiment import Config
from src.model_utils.config_schema.mask_rcnn import CascadeMaskRCNNConfig, MaskRCNNConfig
from src.model_utils.config_schema.refinedet import RefineDetConfig
from src.model_utils.config_schema.retinanet import NASFPNRetinaNetConfig, RetinaNetConfig, SpineNetRetinaNetConfig

CONFIGS: dict[str, type[Config]] = {
    "retinanet": SpineNetRetinaNetConfig,
    "mask_rcnn": MaskRCNNConfig,
    "cascade_mask_rcnn": CascadeMaskRCNNConfig,
    "refinedet": RefineDetConfig,
}
# Where `backbone.type` decides which keys there are.
BACKBONE_CONFIGS: dict[str, dict[str, type[Config]]] = {
    "retinanet": {
        "spinenet": SpineNetRetinaNetConfig,
        "resnet": NASFPNRetinaNetConfig,
        "resnext": NASFPNRetinaNetConfig,
    },
}

__all__ = [
    "BACKBONE_CONFIGS",
    "CONFIGS",
    "CascadeMaskRCNNConfig",
    "Config",
    "MaskRCNNConfig",
    "NASFPNRetinaNetConfig",
    "RefineDetConfig",
    "RetinaNetConfig",
    "SpineNetRetinaNetConfig",
]
