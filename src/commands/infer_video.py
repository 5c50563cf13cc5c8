"""Detect objects in the frames of a video or of a camera: the work of infer.py where its input is one."""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.common.atomic import atomic_path, check_writable
from src.common.progress import with_progress
from src.common.stop_signals import stopping_at_signals
from src.data.camera import Camera
from src.data.image import ImageError, ImageRules
from src.data.video_file import VideoFile, VideoWriter, check_video_name, writing_video
from src.schema import Config

if TYPE_CHECKING:
    from src.predictor.detect_images import InferenceOptions, Outcome
    from src.predictor.pipeline import Pipeline

logger = logging.getLogger(__name__)


def frame_line(frame: int, seconds: float, entry: dict) -> str:
    """The line of a frame, with its end.

    Args:
        frame: its number, from 0.
        seconds: since the first one.
        entry: what the inference JSON says of it.
    """
    return json.dumps({"frame": frame, "seconds": round(seconds, 6), **entry}) + "\n"


def infer_video(config: Config, source: Path | int) -> int:
    """Predict all frames of a video that can be decoded, or of a camera until Ctrl-C or SIGTERM; returns their number.

    `pred_output` gets a line for each frame: {"frame": from 0, "seconds": since the start, and what the inference JSON
    says of an image}. `save_video` gets the frames with what was found drawn on them.

    Args:
        config: see `infer`.
        source: path of the video, or number of the camera.

    Raises:
        UserError: the video or the camera cannot be read, a checkpoint of another network, files that cannot be
            written.
    """
    rules = ImageRules.of(config)
    video = Camera(source, rules) if isinstance(source, int) else VideoFile(source, rules)
    if config.save_video:
        check_video_name(config.save_video)
        check_writable(config.save_video)
    from src.predictor.pipeline import Pipeline  # not before: it imports MindSpore

    pipeline = Pipeline.of_config(config)
    frames = objects = 0
    with ExitStack() as files:
        lines = files.enter_context(files.enter_context(atomic_path(config.pred_output)).open("w", encoding="utf-8"))
        drawn = files.enter_context(_drawing(config.save_video, video, pipeline)) if config.save_video else None
        outcomes = files.enter_context(_predicted(pipeline, video))
        for frame, image, entry in with_progress(outcomes, video.count, "frames", config.progress_bar):
            if isinstance(entry, ImageError):
                raise entry  # frames are decoded before they come here
            seconds = video.seconds(frame)
            lines.write(frame_line(frame, seconds, entry))
            if drawn is not None:
                drawn.add(seconds, image, entry)
            frames, objects = frame + 1, objects + len(entry["predictions"])
    logger.info(f"{objects} objects in {frames} frames; predictions are in {config.pred_output}")
    if config.save_video:
        logger.info(f"the video with what was found is {config.save_video}")
    return frames


@contextmanager
def _predicted(pipeline: "Pipeline", video: VideoFile | Camera) -> Iterator["Iterator[Outcome[np.ndarray]]"]:
    """What is found in each frame; a camera's frames are read when they are wanted, and end at a signal."""
    if isinstance(video, VideoFile):
        yield pipeline.detect(video.frames())
        return
    logger.info("Ctrl-C ends the video")
    with stopping_at_signals(video.stop):
        yield replace(pipeline, options=replace(pipeline.options, workers=0)).detect(video.frames())


class _DrawnVideo:
    """A video of frames with what was found in them, which runs as fast as its source.

    Args:
        writer: where it is written.
        rate: frames per second.
        options: classes.
    """

    def __init__(self, writer: VideoWriter, rate: float, options: "InferenceOptions") -> None:
        self.writer, self.rate, self.options = writer, rate, options
        self.count = 0
        self.last: np.ndarray | None = None

    def add(self, seconds: float, image: np.ndarray, entry: dict) -> None:
        """Draw a frame; where a camera lost some before it, the last one is shown meanwhile."""
        from src.predictor.image_detections import ImageDetections

        while self.last is not None and self.count < round(seconds * self.rate):
            self._write(self.last)
        names, ids = self.options.class_names, self.options.category_ids
        self.last = ImageDetections(entry, names, ids, partial(np.asarray, image)).draw(least_side=0)
        self._write(self.last)

    def _write(self, picture: np.ndarray) -> None:
        self.writer.add(picture)
        self.count += 1


@contextmanager
def _drawing(path: str, video: VideoFile | Camera, pipeline: "Pipeline") -> Iterator[_DrawnVideo]:
    with writing_video(path, video.rate, video.size) as writer:
        yield _DrawnVideo(writer, video.rate, pipeline.options)
