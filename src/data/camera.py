"""Cameras: frames as they come, until told to stop. Never run on a camera."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from src.common.errors import UserError
from src.data.image import USUAL_RULES, ImageRules
from src.data.video_file import frame_rate, frame_size, next_frame

logger = logging.getLogger(__name__)

LOST_AFTER = 50  # frames one after the other that cannot be had: the camera is gone


def camera_number(source: str) -> int | None:
    """The camera that a path stands for: a number that is no file's name; None: it stands for files."""
    return int(source) if source.isascii() and source.isdigit() and not Path(source).exists() else None


class Camera:
    """A camera whose frames are read as they come. Attributes and methods are those of `VideoFile`.

    Args:
        number: as OpenCV counts cameras, from 0.
        rules: how many pixels a frame may have.

    Raises:
        UserError: there is none, or its frames are too large.
    """

    count = None

    def __init__(self, number: int, rules: ImageRules = USUAL_RULES) -> None:
        self.number = number
        self.capture = _opened(number)
        # Frames that wait while the network computes would be old; not all drivers obey.
        self.capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.size = frame_size(self.capture)
        if self.size[0] * self.size[1] > rules.max_pixels:
            size = f"{self.size[0]}x{self.size[1]}"
            raise UserError(f"camera {number}: has frames of {size} pixels, over max_image_pixels {rules.max_pixels}")
        self.rate = frame_rate(self.capture)
        self.stopped = False
        self._times: dict[int, float] = {}  # of frames that nobody has asked for yet

    def stop(self) -> None:
        """Let the frame that is being read be the last."""
        self.stopped = True

    def seconds(self, frame: int) -> float:
        """When a frame came, since the first one; asked once for each."""
        return self._times.pop(frame)

    def frames(self) -> Iterator[np.ndarray]:
        """All frames until `stop`; a warning where the camera goes away before.

        Raises:
            UserError: not even the first one comes.
        """
        done = failed = 0
        start = 0.0
        try:
            while not self.stopped and failed < LOST_AFTER:
                frame = next_frame(self.capture)
                if frame is None:
                    failed += 1
                    continue
                now = time.monotonic()
                start = start if done else now
                self._times[done] = now - start
                done, failed = done + 1, 0
                yield frame
        finally:
            self.capture.release()
        if done == 0 and not self.stopped:
            raise UserError(f"camera {self.number}: no frame comes")
        if not self.stopped:
            logger.warning(f"camera {self.number}: no further frame comes: it ends after {done} frames")


def _opened(number: int) -> cv2.VideoCapture:
    """What reads a camera; OpenCV's own lines about one that is not there are left out."""
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)
    try:
        capture = cv2.VideoCapture(number)
    finally:
        cv2.setLogLevel(level)
    if not capture.isOpened() or min(frame_size(capture)) <= 0:
        raise UserError(f"camera {number} cannot be opened: it is missing, in use, or not allowed for this user")
    return capture
