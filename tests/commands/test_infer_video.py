"""infer.py on videos, with a stand-in for the network."""

import json
from pathlib import Path

import numpy as np
import pytest

from src.commands.infer import infer
from src.common.errors import UserError
from src.config import load_config
from src.data.image import USUAL_RULES
from src.data.network_input import EvalTransform
from src.data.video_file import VideoFile, writing_video
from src.predictor.detect_images import InferenceOptions
from src.predictor.pipeline import Pipeline
from tests.conftest import ROOT


class FindsTheBrightness:
    """One box in each image, whose score is its first value."""

    def predict(self, images, info):
        batch = len(images)
        boxes = np.tile(np.float32([[8, 8, 40, 30]]), (batch, 1, 1))
        return boxes, images[:, 0, :1, 0], np.zeros((batch, 1), np.int32), np.ones((batch, 1), bool)


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A video of 8 frames, ever brighter, in the current folder; the network is the stand-in."""
    monkeypatch.chdir(tmp_path)
    with writing_video("clip.avi", 4.0, (80, 60)) as video:
        for i in range(8):
            video.add(np.full((60, 80, 3), 30 * i + 10, np.uint8))
    overrides = {"img_mean": [0, 0, 0], "img_std": [255, 255, 255], "progress_bar": "off"}

    def of_config(config):
        options = InferenceOptions(["thing"], [7], batch_size=3, workers=2)
        return Pipeline(FindsTheBrightness(), EvalTransform.from_config(config), USUAL_RULES, options)

    monkeypatch.setattr(Pipeline, "of_config", of_config)
    (tmp_path / "config.yaml").write_text(json.dumps({"base": f"{ROOT}/configs/demo/refinedet.yaml", **overrides}))
    return tmp_path / "clip.avi"


def infer_clip(**keys: str) -> list[dict]:
    base = {"checkpoint_path": "a.ckpt", "pred_input": "clip.avi", "pred_output": "out/found.jsonl"}
    infer(load_config("config.yaml", {**base, **keys}))
    return [json.loads(line) for line in Path("out/found.jsonl").read_text().splitlines()]


def test_a_line_for_each_frame_and_the_video_drawn(clip: Path, capsys: pytest.CaptureFixture) -> None:
    lines = infer_clip(save_video="drawn.mp4")
    assert [(line["frame"], line["seconds"]) for line in lines] == [(i, i / 4) for i in range(8)]
    assert {(line["height"], line["width"]) for line in lines} == {(60, 80)}
    scores = [line["predictions"][0]["score"] for line in lines]
    assert scores == pytest.approx([(30 * i + 10) / 255 for i in range(8)], abs=0.03)
    assert lines[0]["predictions"][0]["class"] == {"label": 0, "category_id": 7, "name": "thing"}
    output = capsys.readouterr().out
    assert "8/8 frames" in output and "8 objects in 8 frames; predictions are in out/found.jsonl" in output
    drawn, frames = VideoFile("drawn.mp4"), list(VideoFile("clip.avi").frames())
    assert (drawn.size, drawn.rate, drawn.count) == ((80, 60), 4.0, 8)
    changed = [np.abs(a.astype(int) - b).max() > 60 for a, b in zip(drawn.frames(), frames, strict=True)]
    assert changed == [score >= 0.3 for score in scores]


def test_a_truncated_video_ends_with_one_message(clip: Path, capsys: pytest.CaptureFixture) -> None:
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 8 // 10])
    lines = infer_clip()
    assert 1 < len(lines) < 8 and [line["frame"] for line in lines] == list(range(len(lines)))
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert warnings == [f"warning: clip.avi: truncated or broken: it ends after {len(lines)} of 8 frames"]


def test_mistakes_leave_nothing(clip: Path) -> None:
    with pytest.raises(UserError, match=r"save_video a.gif: must end in .mp4 or .avi"):
        infer_clip(save_video="a.gif")
    clip.write_bytes(b"no video")
    with pytest.raises(UserError, match="clip.avi: broken, truncated or not a video"):
        infer_clip()
    assert not Path("out/found.jsonl").exists()
