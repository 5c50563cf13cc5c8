r"""Detect objects in an image or in a folder of images (png, jpg, jpeg, bmp, webp in its root).

    python infer.py --config_path configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml \
        --checkpoint_path retinanet.ckpt --pred_input images/ --pred_output predictions.json

Writes a JSON file with boxes (and masks, as COCO run-length codes) in pixels of each image, best first;
draw_predictions.py draws them. Images that cannot be read are reported and skipped. --test_batch_size sets how many
images the network takes at once.
"""

from src.common.program import run_command
from src.config import config_from_command_line
from src.model_utils.moxing_adapter import on_modelarts


def main() -> None:
    """Check the configuration, then predict."""
    config = config_from_command_line(__doc__)
    with on_modelarts(config):
        from src.commands.infer import infer

        infer(config)


if __name__ == "__main__":
    run_command(main)
