"""infer.py on a camera, which is a stand-in; the network is one too. No test has run on a camera."""

import signal
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.common.errors import UserError
from src.common.stop_signals import stopping_at_signals
from src.data import camera
from src.data.camera import Camera, camera_number
from src.data.image import ImageRules
from src.data.video_file import VideoFile
from tests.commands.test_infer_video import clip as clip
from tests.commands.test_infer_video import infer_clip

FRAMES = 5


class FakeCapture:
    """Frames ever brighter, four per second; after `FRAMES` of them what `after` says."""

    size = (80, 60)
    after = "ctrl_c"

    def __init__(self, number):
        self.number, self.read_frames, self.failed = number, 0, 0

    def isOpened(self):  # noqa: N802  OpenCV's name
        return self.number == 3

    def get(self, key):
        return {
            cv2.CAP_PROP_FRAME_WIDTH: self.size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self.size[1],
            cv2.CAP_PROP_FPS: 4.0,
        }[key]

    def set(self, key, value):
        assert (key, value) == (cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self):
        if self.after == "nothing" or (self.read_frames == FRAMES and self.after == "gone"):
            return False, None
        if self.read_frames % 2 == 1 and not self.failed:
            self.failed = 1
            return False, None  # a camera may miss one
        self.failed = 0
        self.read_frames += 1
        if self.read_frames == FRAMES and self.after != "gone":
            signal.raise_signal(signal.SIGTERM if self.after == "sigterm" else signal.SIGINT)
        return True, np.full((self.size[1], self.size[0], 3), 40 * self.read_frames, np.uint8)

    def release(self):
        pass


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Python's own answer to Ctrl-C, which a process in the background of a script starts without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    """What `camera` opens, with a clock that goes on by 0.5 s for each frame."""

    class Fake(FakeCapture):
        pass

    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: Fake(source) if isinstance(source, int) else real(source))
    ticks = iter(range(100))
    monkeypatch.setattr(camera.time, "monotonic", lambda: next(ticks) / 2)
    return Fake


@pytest.mark.parametrize("after", ["ctrl_c", "sigterm"])
def test_a_camera_is_read_until_a_signal(clip: Path, fake, after: str, capsys: pytest.CaptureFixture) -> None:
    fake.after = after
    lines = infer_clip(pred_input="3", save_video="drawn.avi")
    # The frame that came with the signal is the last.
    assert [(line["frame"], line["seconds"]) for line in lines] == [(i, i / 2) for i in range(FRAMES)]
    scores = [line["predictions"][0]["score"] for line in lines]
    assert scores == pytest.approx([40 * i / 255 for i in range(1, FRAMES + 1)], abs=0.01)
    assert "5 objects in 5 frames; predictions are in out/found.jsonl" in capsys.readouterr().out
    # Four frames per second are shown, and two came: each twice, but the last.
    drawn = VideoFile("drawn.avi")
    assert (drawn.rate, drawn.count) == (4.0, 2 * FRAMES - 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_camera_that_goes_away_leaves_its_frames(clip: Path, fake, capsys: pytest.CaptureFixture) -> None:
    fake.after = "gone"
    assert len(infer_clip(pred_input="3")) == FRAMES
    assert "warning: camera 3: no further frame comes: it ends after 5 frames" in capsys.readouterr().out
    fake.after = "nothing"
    with pytest.raises(UserError, match="camera 3: no frame comes"):
        infer_clip(pred_input="3")


def test_cameras_that_are_not_there_or_too_large(fake) -> None:
    with pytest.raises(UserError, match="camera 7 cannot be opened: it is missing, in use, or not allowed"):
        Camera(7)
    with pytest.raises(UserError, match="camera 3: has frames of 80x60 pixels, over max_image_pixels 100"):
        Camera(3, ImageRules(100))


def test_opencv_says_nothing_of_a_camera_that_is_not_there(capfd) -> None:
    with pytest.raises(UserError, match="camera 97 cannot be opened"):
        Camera(97)
    assert capfd.readouterr() == ("", "")


def test_what_is_the_number_of_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("5").mkdir()
    found = {name: camera_number(name) for name in ("0", "12", "5", "-1", "a", "1.jpg", "²", "")}
    assert found == {"0": 0, "12": 12, "5": None, "-1": None, "a": None, "1.jpg": None, "²": None, "": None}


def test_a_second_signal_interrupts() -> None:
    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt), stopping_at_signals(lambda: calls.append(1)):
        signal.raise_signal(signal.SIGINT)
        assert calls == [1]
        signal.raise_signal(signal.SIGINT)
    assert calls == [1]
