"""Videos: their frames one after the other, and videos made of frames. Frames are uint8 [H, W, 3] RGB arrays."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.data.image import USUAL_RULES, ImageRules

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}  # what OpenCV's wheels write without further libraries
USUAL_RATE = 25.0  # frames per second, where a video does not say

# FFmpeg reports each broken packet; what is missing is said once, here.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class VideoTooLargeError(UserError):
    """A video whose frames have more pixels than the rules allow."""


class VideoFile:
    """A video whose frames are read once, in order.

    Args:
        path: of the file.
        rules: how many pixels a frame may have.

    Attributes:
        rate: frames per second.
        size: (width, height) of its frames in pixels.
        count: number of frames that its header says; None: it does not.

    Raises:
        UserError: it is missing, no video, or (`VideoTooLargeError`) its frames are too large.
    """

    def __init__(self, path: str | Path, rules: ImageRules = USUAL_RULES) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"{path}: no such video")
        self.capture = cv2.VideoCapture(str(path))
        width, height = frame_size(self.capture)
        if not self.capture.isOpened() or width <= 0 or height <= 0:
            raise UserError(f"{path}: broken, truncated or not a video that OpenCV can read")
        if width * height > rules.max_pixels:
            size = f"frames of {width}x{height} pixels"
            raise VideoTooLargeError(f"{path}: has {size}, over max_image_pixels {rules.max_pixels}")
        count = self.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = frame_rate(self.capture)
        self.size = width, height
        self.count = int(count) if 0 < count < 1e9 else None

    def frames(self) -> Iterator[np.ndarray]:
        """All frames that can be decoded; one warning where that is fewer than the header says.

        Raises:
            UserError: not even the first one can.
        """
        done = 0
        try:
            while (frame := next_frame(self.capture)) is not None:
                done += 1
                yield frame
        finally:
            self.capture.release()
        if done == 0:
            raise UserError(f"{self.path}: none of its frames can be decoded")
        if self.count is not None and done < self.count:
            logger.warning(f"{self.path}: truncated or broken: it ends after {done} of {self.count} frames")

    def seconds(self, frame: int) -> float:
        """When a frame is shown, since the first one."""
        return frame / self.rate


def frame_size(capture: cv2.VideoCapture) -> tuple[int, int]:
    """(width, height) of the frames in pixels; 0 where there are none."""
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def frame_rate(capture: cv2.VideoCapture) -> float:
    """Frames per second."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate < 1e4 else USUAL_RATE


def next_frame(capture: cv2.VideoCapture) -> np.ndarray | None:
    """The next frame, or None where none can be had."""
    try:
        there, frame = capture.read()
    except cv2.error:
        return None
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if there else None


class VideoWriter:
    """Writes frames to a video file as they come; see `writing_video`."""

    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
        self.writer = cv2.VideoWriter(str(path), codec, rate, size)
        if not self.writer.isOpened():
            raise UserError(f"{path}: OpenCV cannot write a video of {size[0]}x{size[1]} pixels here")

    def add(self, frame: np.ndarray) -> None:
        """Write one more frame, uint8 [H, W, 3] RGB of the video's size."""
        self.writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Write what players look for at the end."""
        self.writer.release()


def check_video_name(path: str) -> None:
    """Raise a UserError unless the suffix is that of a format which can be written."""
    if Path(path).suffix.lower() not in CODECS:
        raise UserError(f"save_video {path}: must end in {' or '.join(CODECS)}")


@contextmanager
def writing_video(path: str | Path, rate: float, size: tuple[int, int]) -> Iterator[VideoWriter]:
    """A video that appears at `path`, complete, once the block has ended without an exception.

    Args:
        path: its suffix is one of `CODECS`.
        rate: frames per second.
        size: (width, height) in pixels.
    """
    with atomic_path(path) as temporary:
        writer = VideoWriter(temporary, rate, size)
        try:
            yield writer
        finally:
            writer.close()
