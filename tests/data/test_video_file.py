"""Videos are read frame by frame and written whole."""

from pathlib import Path

import numpy as np
import pytest

from src.common.errors import UserError
from src.data.image import ImageRules
from src.data.video_file import VideoFile, check_video_name, writing_video


def write(path: Path, frames: int = 12, size=(64, 48)) -> Path:
    """Frame i has the grey 10 i."""
    with writing_video(path, 10.0, size) as video:
        for i in range(frames):
            video.add(np.full((size[1], size[0], 3), 10 * i, np.uint8))
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "A.AVI"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    video = VideoFile(write(tmp_path / name))
    assert (video.rate, video.size, video.count) == (10.0, (64, 48), 12)
    means = [frame.mean() for frame in video.frames()]
    assert means == pytest.approx(range(0, 120, 10), abs=5)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_colours_keep_their_order(tmp_path: Path) -> None:
    with writing_video(tmp_path / "a.avi", 10.0, (32, 32)) as video:
        video.add(np.full((32, 32, 3), (200, 100, 0), np.uint8))
    (frame,) = VideoFile(tmp_path / "a.avi").frames()
    assert frame.mean(axis=(0, 1)) == pytest.approx([200, 100, 0], abs=6)


def test_a_truncated_video_gives_its_frames_and_one_message(tmp_path: Path, capfd) -> None:
    path = write(tmp_path / "a.avi", 30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = list(VideoFile(path).frames())
    assert 1 < len(frames) < 30
    captured = capfd.readouterr()
    assert captured.out == f"warning: {path}: truncated or broken: it ends after {len(frames)} of 30 frames\n"
    assert captured.err == ""


def test_what_is_no_video(tmp_path: Path, capfd) -> None:
    path = write(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-600])  # an mp4's index is at its end
    for name, message in (("none.mp4", "no such video"), ("a.mp4", "broken, truncated or not a video")):
        with pytest.raises(UserError, match=f"{name}: {message}"):
            VideoFile(tmp_path / name)
    with pytest.raises(UserError, match="frames of 64x48 pixels, over max_image_pixels 3000"):
        VideoFile(write(tmp_path / "b.avi"), ImageRules(3000))
    with pytest.raises(UserError, match=r"save_video a.gif: must end in .mp4 or .avi"):
        check_video_name("a.gif")
    assert capfd.readouterr().err == ""


def test_a_video_that_fails_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing_video(tmp_path / "a.avi", 10.0, (32, 32)):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
