r"""Train a detector.

    python train.py --config_path configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml \
        --train_dataset /data/coco-2017/train --val_dataset /data/coco-2017/validation --brief first_run

Writes train.log, metrics.csv, curves.png, config.yaml and checkpoints/ under train_outputs/brief.
--resume 1 continues an interrupted run; --finetune 1 --pre_trained X.ckpt starts from what fits of X.
"""

from src.commands.default_config import default_of
from src.common.program import run_command
from src.config import config_from_command_line
from src.model_utils.moxing_adapter import on_modelarts


def main() -> None:
    """Check the configuration, then train."""
    config = config_from_command_line(__doc__, fallbacks=(default_of("train.py"),))
    with on_modelarts(config):
        from src.commands.train import train

        train(config)


if __name__ == "__main__":
    run_command(main)
