"""infer.py as its user runs it: a small random network over real files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.data.image_files import find_inputs

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "demo" / "spinenet_retinanet.yaml"
SMALL = {"backbone.width": 0.1, "bbox_head.prior_prob": 0.2}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from src.config import load_config
    from src.models import build_detector
    from src.weights.checkpoint import save_weights

    config = load_config(CONFIG, SMALL)
    path = tmp_path_factory.mktemp("checkpoint") / "random.ckpt"
    parameters = build_detector(config).parameters_dict()
    save_weights(path, {name: parameter.asnumpy() for name, parameter in parameters.items()}, config)
    return path


def infer(folder, **arguments):
    words = [sys.executable, str(ROOT / "infer.py"), "--config_path", str(CONFIG), "--device_target", "CPU"]
    for name, value in {**SMALL, **arguments}.items():
        words += [f"--{name}", str(value)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def expect_mistake(done, *words):
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_folder_with_a_broken_image(tmp_path, checkpoint):
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    for name, shape in {"a.png": (40, 90), "b.jpg": (120, 50), "c.bmp": (64, 64)}.items():
        cv2.imwrite(str(images / name), rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    odd = images / os.fsdecode(b"d\xff.png")  # not UTF-8
    shutil.copyfile(images / "a.png", odd)
    done = infer(tmp_path, checkpoint_path=checkpoint, pred_input=images, pred_output="out/p.json", test_batch_size=2)
    assert done.returncode == 0, done.stderr
    assert "broken.jpg" in done.stdout and "(1 images skipped)" in done.stdout and "5/5 images" in done.stdout
    predictions = json.loads((tmp_path / "out" / "p.json").read_text())
    assert list(predictions) == [str(images / name) for name in ("a.png", "b.jpg", "c.bmp", odd)]
    assert [(p["height"], p["width"]) for p in predictions.values()] == [(40, 90), (120, 50), (64, 64), (40, 90)]
    assert sum(len(p["predictions"]) for p in predictions.values()) > 10
    for entry in predictions.values():
        scores = [p["score"] for p in entry["predictions"]]
        assert scores == sorted(scores, reverse=True)
        for p in entry["predictions"]:
            assert p["class"]["name"] == ["circle", "square", "triangle", "star"][p["class"]["label"]]
            assert p["class"]["category_id"] == "unknown"
            assert p["bbox"]["x_min"] >= 0 and p["bbox"]["x_min"] + p["bbox"]["width"] <= entry["width"]
            assert p["bbox"]["y_min"] >= 0 and p["bbox"]["y_min"] + p["bbox"]["height"] <= entry["height"]


def test_folders_below_and_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("day1", "day2/late"):
        (tmp_path / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.full((40, 50, 3), 90, np.uint8))
        (tmp_path / folder / "notes.png.txt").touch()
    cv2.imwrite(str(tmp_path / "[b].png"), np.full((40, 50, 3), 90, np.uint8))
    for given, found in (
        (".", ["[b].png", "day1/a.png", "day2/late/a.png"]),
        ("day*/**/*", ["day1/a.png", "day2/late/a.png"]),
        ("[b].png", ["[b].png"]),
    ):
        assert [str(path) for path in find_inputs(given, key="pred_input")] == found
    expect_mistake(infer(tmp_path, checkpoint_path="a", pred_input="d/*.jpg", pred_output="p"), "no image matches this")


def test_checkpoint_of_other_classes(tmp_path, checkpoint):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 30, 3), np.uint8))
    done = infer(
        tmp_path,
        checkpoint_path=checkpoint,
        pred_input="a.png",
        pred_output="p.json",
        coco_classes="[background, cell]",
        num_classes=2,
    )
    expect_mistake(done, "random.ckpt", "retina_cls")
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"pred_input": "none", "pred_output": "p.json", "checkpoint_path": "a.ckpt"}, "does not exist"),
        ({"pred_input": ".", "pred_output": "p.json", "checkpoint_path": "a.ckpt"}, "no image"),
        ({"pred_input": ".", "pred_output": ".", "checkpoint_path": "a.ckpt"}, "is a folder"),
        ({"pred_input": ".", "pred_output": "p.json"}, "checkpoint_path is missing"),
        ({"pred_output": "p.json", "checkpoint_path": "a.ckpt"}, "pred_input is missing"),
        (
            {"pred_input": str(CONFIG), "pred_output": "p.json", "checkpoint_path": "a", "save_video": "a.mp4"},
            "is none",
        ),
        (
            {"pred_input": __file__, "pred_output": "p", "checkpoint_path": "a.ckpt", "runtime": "openvino"},
            "is for exp",
        ),
    ],
)
def test_mistakes_are_found_before_the_network_is_built(tmp_path, arguments, word):
    expect_mistake(infer(tmp_path, **arguments), word)


def test_of_several_videos_one_is_to_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "clips/b.mp4", tmp_path / "clips/day1/a.AVI", tmp_path / "clips/notes.txt"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for given in ("clips", "clips/**/*"):
        message = f"pred_input {given}: no image, but 2 videos; give one of them, such as clips/b.mp4"
        expect_mistake(infer(tmp_path, checkpoint_path="a", pred_input=given, pred_output="p"), message)
    for given, found in (("clips/*.mp4", "clips/b.mp4"), ("clips/day1", "clips/day1/a.AVI")):
        assert find_inputs(given) == [Path(found)]
        expect_mistake(infer(tmp_path, checkpoint_path="a", pred_input=given, pred_output="p"), f"{found}: broken, ")
