r"""Evaluate a checkpoint with COCO metrics, or predictions that were saved before.

    python eval.py --config_path configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml \
        --val_dataset /data/coco-2017/validation --checkpoint_path retinanet.ckpt --prediction_path predictions.json

Prints COCO's table (for a mask model also that of masks) and AP per class, and writes the numbers beside the checkpoint
as *_metrics.json. When --prediction_path exists it is evaluated and the network does not run (the JSON of infer.py will
do, too); otherwise the predictions are saved there. --report FOLDER writes a web page with tables, curves and
pictures of the worst images by kind of error. Without --config_path the configuration is the one that was saved with
the checkpoint, on the data that RefineDet's YAML names, where it names other data of the same kind and classes.
"""

from src.commands.default_config import default_of
from src.commands.saved_config import saved_config_of
from src.common.program import run_command
from src.config import config_from_command_line
from src.model_utils.moxing_adapter import on_modelarts


def main() -> None:
    """Check the configuration, then evaluate."""
    config = config_from_command_line(__doc__, fallbacks=(saved_config_of("eval.py"), default_of("eval.py")))
    with on_modelarts(config):
        from src.commands.evaluate import evaluate

        evaluate(config)


if __name__ == "__main__":
    run_command(main)
