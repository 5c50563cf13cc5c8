"""Parameters and multiply-accumulate operations (MACs) of a configuration's network, part by part.

    python tools/count_parameters.py --config_path configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml
    python tools/count_parameters.py --config_path configs/instaboost/mask_rcnn_r50_fpn.yaml --img_width 1280

MACs are of one image of the configuration's input size; publications often call them FLOPs.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.program import run_command
from src.config import config_from_command_line


def main() -> None:
    """Check the configuration, then count."""
    config = config_from_command_line(__doc__)
    from src.model_utils.device_adapter import setup_device

    setup_device(config.model_copy(update={"mode": "pynative", "run_distribute": False}))
    from src.commands.count_parameters import summarise, summary_table

    print(summary_table(summarise(config)))


if __name__ == "__main__":
    run_command(main)
