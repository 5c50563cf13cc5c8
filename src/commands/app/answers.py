"""What app.py answers: the JSON of an image, and the lines of JSON of a video."""

import base64
import json
import tempfile
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np

from src.commands.app.options import Limits
from src.commands.infer_video import frame_line
from src.common.errors import UserError
from src.data.image import ImageError, ImageTooLargeError
from src.data.video_file import VideoFile, VideoTooLargeError
from src.predictor.pipeline import Pipeline

JPEG_QUALITY = 85
BYTES_NAME = "<bytes>: "  # what messages call an image without a file


class RefusedError(Exception):
    """A request that gets one line in place of an answer.

    Args:
        status: of HTTP.
        line: what is wrong.
    """

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status, self.line = status, line


def image_answer(pipeline: Pipeline, image: bytes) -> str:
    """What infer.py writes for an image, as JSON.

    Raises:
        RefusedError: it cannot be read, or has too many pixels.
    """
    ((_, _, result),) = pipeline.detect_listed([image])
    if isinstance(result, ImageError):
        status = 413 if isinstance(result, ImageTooLargeError) else 400
        raise RefusedError(status, str(result).removeprefix(BYTES_NAME))
    return json.dumps(result, ensure_ascii=False)


class VideoAnswer:
    """The lines of a video's frames, which are predicted as they are read.

    Args:
        pipeline: what predicts.
        video: the encoded video.
        limits: how many frames it may have.
        pictures: each line has its frame, too: {..., "picture": a JPEG file in base64}.

    Attributes:
        rate: frames per second.
        count: number of frames that its header says; None: it does not.

    Raises:
        RefusedError: it cannot be read, or has too many frames or pixels.
    """

    def __init__(self, pipeline: Pipeline, video: bytes, limits: Limits, pictures: bool) -> None:
        self._pipeline, self._limits, self._pictures = pipeline, limits, pictures
        self._folder = tempfile.TemporaryDirectory(prefix="app_video_")
        try:
            path = Path(self._folder.name, "video")
            path.write_bytes(video)
            self._video = VideoFile(path, pipeline.rules)
            self.rate, self.count = self._video.rate, self._video.count
            if self.count is not None and self.count > limits.max_frames:
                raise RefusedError(413, f"has {self.count} frames, over --max_frames {limits.max_frames}")
            self._lines = self._predicted()
            self._first: str | None = next(self._lines)
        except UserError as error:
            self._folder.cleanup()
            status = 413 if isinstance(error, VideoTooLargeError) else 400
            raise RefusedError(status, str(error).removeprefix(f"{path}: ")) from None
        except BaseException:
            self._folder.cleanup()
            raise

    def next_line(self) -> str | None:
        """The line of the next frame, with its end; None: there is no further one."""
        line, self._first = self._first, None
        return line or next(self._lines, None)

    def close(self) -> None:
        """Give back what reading holds."""
        self._lines.close()
        self._folder.cleanup()

    def _predicted(self) -> Generator[str, None, None]:
        for frame, image, entry in self._pipeline.detect(self._video.frames()):
            if isinstance(entry, ImageError):
                raise entry  # frames are decoded before they come here
            if frame == self._limits.max_frames:
                yield json.dumps({"error": f"has more than --max_frames {frame} frames; these are the first"}) + "\n"
                return
            extra = {"picture": _as_jpeg(np.asarray(image))} if self._pictures else {}
            yield frame_line(frame, self._video.seconds(frame), {**entry, **extra})


def _as_jpeg(frame: np.ndarray) -> str:
    """A frame, uint8 [H, W, 3] RGB, as a JPEG file in base64."""
    _, encoded = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return base64.b64encode(encoded.tobytes()).decode()
