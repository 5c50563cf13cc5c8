r"""Detect objects in an image, a folder of images (png, jpg, jpeg, bmp, webp, at any depth), a video, or a camera.

    python infer.py --config_path configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml \
        --checkpoint_path retinanet.ckpt --pred_input images/ --pred_output predictions.json

Without --config_path it is the configuration that was saved with the checkpoint. `--checkpoint_path zoo:NAME` takes
weights that come with the project, with their configuration; zoo/weights.json lists them.

Writes a JSON file with boxes (and masks, as COCO run-length codes) in pixels of each image, best first;
draw_predictions.py draws them. Images that cannot be read are reported and skipped. --test_batch_size sets how many
images the network takes at once.

--pred_input takes a pattern such as 'day?/*.jpg' as well. Of a video (mp4, avi, mov, mkv, webm, ...) pred_output gets a
line of JSON for each frame, and --save_video clip.mp4 the frames with what was found. --pred_input 0 is the first
camera; Ctrl-C ends its video. --runtime and --providers say what runs an exported .onnx file. --tile 640 --overlap 0.2
looks at large pictures in tiles, --tta flip,1.5 at each image in further views; what was found is merged.
"""

from src.common.program import run_command
from src.config import config_from_command_line
from src.model_utils.moxing_adapter import on_modelarts
from src.predictor.saved_config import config_of_checkpoint


def main() -> None:
    """Check the configuration, then predict."""
    config = config_from_command_line(__doc__, fallbacks=[config_of_checkpoint])
    with on_modelarts(config):
        from src.commands.infer import infer

        infer(config)


if __name__ == "__main__":
    run_command(main)
