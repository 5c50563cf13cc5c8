"""Detect objects in the frames of a video: the work of infer.py where its input is one."""

import json
import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from src.common.atomic import atomic_path, check_writable
from src.common.progress import with_progress
from src.data.image import ImageError, ImageRules
from src.data.video_file import VideoFile, check_video_name, writing_video
from src.schema import Config

logger = logging.getLogger(__name__)


def frame_line(frame: int, rate: float, entry: dict) -> str:
    """The line of a frame, with its end.

    Args:
        frame: its number, from 0.
        rate: frames per second.
        entry: what the inference JSON says of it.
    """
    return json.dumps({"frame": frame, "seconds": round(frame / rate, 6), **entry}) + "\n"


def infer_video(config: Config, path: Path) -> int:
    """Predict all frames of a video that can be decoded; returns how many there were.

    `pred_output` gets a line for each frame: {"frame": from 0, "seconds": since the start, and what the inference JSON
    says of an image}. `save_video` gets the frames with what was found drawn on them.

    Raises:
        UserError: the video cannot be read, a checkpoint of another network, files that cannot be written.
    """
    video = VideoFile(path, ImageRules.of(config))
    if config.save_video:
        check_video_name(config.save_video)
        check_writable(config.save_video)
    from src.predictor.image_detections import ImageDetections
    from src.predictor.pipeline import Pipeline  # not before: it imports MindSpore

    pipeline = Pipeline.of_config(config)
    options = pipeline.options
    frames = objects = 0
    with ExitStack() as files:
        lines = files.enter_context(files.enter_context(atomic_path(config.pred_output)).open("w", encoding="utf-8"))
        drawn = None
        if config.save_video:
            drawn = files.enter_context(writing_video(config.save_video, video.rate, video.size))
        outcomes = pipeline.detect(video.frames())
        for frame, image, entry in with_progress(outcomes, video.count, "frames", config.progress_bar):
            if isinstance(entry, ImageError):
                raise entry  # frames are decoded before they come here
            lines.write(frame_line(frame, video.rate, entry))
            if drawn is not None:
                read = partial(np.asarray, image)
                found = ImageDetections(entry, options.class_names, options.category_ids, read)
                drawn.add(found.draw(least_side=0))
            frames, objects = frame + 1, objects + len(entry["predictions"])
    logger.info(f"{objects} objects in {frames} frames; predictions are in {config.pred_output}")
    if config.save_video:
        logger.info(f"the video with what was found is {config.save_video}")
    return frames
