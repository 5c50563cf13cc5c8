r"""Export a checkpoint as MINDIR, ONNX or (on Ascend) AIR.

    python export.py --config_path configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml \
        --file_name retinanet --file_format MINDIR --checkpoint_path retinanet.ckpt

Writes retinanet.mindir, and retinanet.json beside it, which says what the file takes and gives. The file is run and
compared with the checkpoint; one that differs is not kept. Without --config_path the configuration is the one that was
saved with the checkpoint. eval.py and infer.py take .mindir and .onnx files as --checkpoint_path.
"""

from src.commands.default_config import default_of
from src.common.program import run_command
from src.config import config_from_command_line
from src.model_utils.moxing_adapter import on_modelarts
from src.predictor.saved_config import config_of_checkpoint


def main() -> None:
    """Check the configuration, then export."""
    config = config_from_command_line(__doc__, fallbacks=(config_of_checkpoint, default_of("export.py")))
    with on_modelarts(config):
        from src.commands.export import export

        export(config)


if __name__ == "__main__":
    run_command(main)
