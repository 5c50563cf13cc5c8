"""Every configuration key: name, type, default, allowed values and the comment that `--help` shows.

Keys and meanings follow the published READMEs; keys this project adds say so in their comment only where it matters.
Checks that need more than one key are in `config_checks.py`.
"""

from src.model_utils.config_schema.experiment import Config
from src.model_utils.config_schema.mask_rcnn import CascadeMaskRCNNConfig, MaskRCNNConfig
from src.model_utils.config_schema.retinanet import RetinaNetConfig

CONFIGS: dict[str, type[Config]] = {
    "retinanet": RetinaNetConfig,
    "mask_rcnn": MaskRCNNConfig,
    "cascade_mask_rcnn": CascadeMaskRCNNConfig,
}

__all__ = ["CONFIGS", "CascadeMaskRCNNConfig", "Config", "MaskRCNNConfig", "RetinaNetConfig"]
