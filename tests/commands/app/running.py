"""app.py in a process of its own, with a network that nobody trained."""

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src.data.video_file import writing_video
from tests.end_to_end.commands import start

HEIGHT, WIDTH = 60, 80


class Answer(NamedTuple):
    status: int
    text: str
    headers: http.client.HTTPMessage

    @property
    def error(self) -> str:
        return json.loads(self.text)["error"]


class Server(NamedTuple):
    process: subprocess.Popen
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def post(self, path: str, body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", path, body)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(), response.headers)
        finally:
            connection.close()


@contextmanager
def running(model: Path, *arguments: object, **environment: str) -> Iterator[Server]:
    """The server, once it answers."""
    words = ["--checkpoint_path", model, "--port", 0, *arguments]
    process = start("app.py", *words, cwd=model.parent, **environment)
    try:
        line = process.stdout.readline()
        assert line.startswith("the page is http://127.0.0.1:"), line + process.stderr.read()
        yield Server(process, int(line.split("/")[2].rpartition(":")[2]))
    finally:
        process.terminate()
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def grey(value: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def truncated(clip: bytes) -> bytes:
    """The first half of a video's frames, without the index behind them."""
    return clip[: (clip.index(b"movi") + clip.index(b"idx1")) // 2]


def write_clip(path: Path, frames: int) -> Path:
    """A video of grey frames, ever brighter, four per second."""
    with writing_video(path, 4.0, (WIDTH, HEIGHT)) as video:
        for i in range(frames):
            video.add(grey(30 * i + 10))
    return path
