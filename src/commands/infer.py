"""Detect objects in an image, in many, in a video, or in what a camera sees: the work of infer.py."""

import logging
from pathlib import Path

from src.commands.infer_video import infer_video
from src.common.atomic import check_writable
from src.common.errors import UserError
from src.common.progress import with_progress
from src.data.camera import camera_number
from src.data.image_files import find_inputs
from src.data.video_file import VIDEO_SUFFIXES
from src.evaluation.predictions import save_predictions
from src.predictor.detect_images import gathered
from src.schema import Config, require

logger = logging.getLogger(__name__)


def infer(config: Config) -> None:
    """Predict as the configuration says and write `pred_output`.

    Raises:
        UserError: missing keys or files, a checkpoint of another network, or no image that could be read.
    """
    require(config, "checkpoint_path", "pred_input", "pred_output")
    if Path(config.pred_output).is_dir():
        raise UserError(f"pred_output {config.pred_output} is a folder; give the JSON file to write")
    check_writable(config.pred_output)
    if (camera := camera_number(config.pred_input)) is not None:
        infer_video(config, camera)
        return
    paths = find_inputs(config.pred_input, key="pred_input")
    if paths[0].suffix.lower() in VIDEO_SUFFIXES:
        infer_video(config, paths[0])
    else:
        _infer_images(config, paths)


def _infer_images(config: Config, paths: list[Path]) -> None:
    if config.save_video:
        raise UserError(f"save_video is for videos, and pred_input {config.pred_input} is none")

    from src.predictor.pipeline import Pipeline  # not before: it imports MindSpore

    pipeline = Pipeline.of_config(config)
    outcomes = with_progress(pipeline.detect_listed(paths), len(paths), "images", config.progress_bar)
    predictions, broken = gathered(outcomes, paths)
    for problem in broken:
        logger.warning(f"{problem}; skipped")
    if not predictions:
        raise UserError(f"pred_input {config.pred_input}: none of its {len(paths)} images could be read")
    save_predictions(config.pred_output, predictions)
    found = sum(len(entry["predictions"]) for entry in predictions.values())
    logger.info(f"{found} objects in {len(predictions)} images ({len(broken)} images skipped)")
    logger.info(f"predictions are in {config.pred_output}; draw_predictions.py draws them")
