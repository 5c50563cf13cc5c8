"""Inference over folders with a stand-in for the network: order, batches, broken images, progress."""

import itertools
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from src.common import progress
from src.common.errors import UserError
from src.common.progress import with_progress
from src.data.image import ImageError, load_image
from src.data.image_files import find_images
from src.predictor.detect_images import InferenceOptions, detect_images


class BrightnessDetector:
    """Finds one box a level of brightness: label and score follow the mean of the image."""

    def __init__(self):
        self.shapes = []

    def predict(self, images, info):
        self.shapes.append(images.shape)
        batch = len(images)
        boxes = np.zeros((batch, 3, 4), np.float32)
        boxes[:, 0, 2:] = info[:, [1, 0]]  # the whole image
        boxes[:, 1] = [-5, -5, 9999, 9999]
        scores = np.stack([images.mean((1, 2, 3)), np.full(batch, 0.1), np.full(batch, 0.05)], 1)
        valid = np.tile([True, True, False], (batch, 1))
        return boxes, scores, np.zeros((batch, 3), np.int32), valid


def load(path):
    image = load_image(path)
    height, width = image.shape[:2]
    info = np.array([height, width, 8, 8, 8 / height, 8 / width], np.float32)
    return np.full((3, 8, 8), image.mean() / 255, np.float32), info


@pytest.fixture
def folder(tmp_path):
    for i, suffix in enumerate([".png", ".jpg", ".JPEG", ".bmp", ".WebP", ".PNG", ".JPG"]):
        image = np.full((20 + i, 30, 3), 100 + 20 * i, np.uint8)
        encoded = cv2.imencode(suffix.lower(), image)[1]
        (tmp_path / f"image_{i}{suffix}").write_bytes(encoded.tobytes())
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._image_0.png").write_text("a resource fork")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "deep.png").write_bytes((tmp_path / "image_0.png").read_bytes())
    return tmp_path


def run(paths, batch_size, workers=2):
    net = BrightnessDetector()
    predictions, broken = detect_images(net.predict, load, paths, InferenceOptions(["thing"], [], batch_size, workers))
    return net, predictions, broken


def test_finds_images_of_every_suffix_in_the_root_only(folder):
    assert [path.name for path in find_images(folder)] == [
        "image_0.png",
        "image_1.jpg",
        "image_2.JPEG",
        "image_3.bmp",
        "image_4.WebP",
        "image_5.PNG",
        "image_6.JPG",
    ]
    assert find_images(folder / "image_3.bmp") == [folder / "image_3.bmp"]


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(UserError, match="no image"):
        find_images(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        find_images(tmp_path / "none")


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 2), (4, 1), (50, 8)])
def test_batches_have_one_shape_and_results_do_not_depend_on_them(folder, batch_size, workers):
    paths = find_images(folder)
    net, predictions, broken = run(paths, batch_size, workers)
    assert set(net.shapes) == {(min(batch_size, 7), 3, 8, 8)}
    assert broken == []
    assert list(predictions) == [str(path) for path in paths]
    for i, entry in enumerate(predictions.values()):
        assert (entry["height"], entry["width"], len(entry["predictions"])) == (20 + i, 30, 2)
        assert entry["predictions"][0]["score"] == pytest.approx((100 + 20 * i) / 255, abs=0.01)
        assert entry["predictions"][1]["bbox"] == {"x_min": 0.0, "y_min": 0.0, "width": 30.0, "height": 20.0 + i}


@pytest.mark.parametrize("workers", [0, 3])
def test_broken_images_are_named_and_skipped(folder, workers):
    (folder / "image_1.jpg").write_bytes((folder / "image_1.jpg").read_bytes()[:40])
    (folder / "image_6.JPG").write_bytes(b"")
    _, predictions, broken = run(find_images(folder), 2, workers)
    assert len(predictions) == 5
    assert [line.split(":")[0] for line in broken] == [str(folder / "image_1.jpg"), str(folder / "image_6.JPG")]


def test_nothing_but_broken_images(folder):
    net, predictions, broken = run([folder / "notes.txt"], 2)
    assert predictions == {} and len(broken) == 1 and net.shapes == []


def test_only_broken_images_are_forgiven(folder):
    def fail(path):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        detect_images(BrightnessDetector().predict, fail, find_images(folder), InferenceOptions(["thing"], []))


def test_few_images_wait_in_memory(folder):
    loaded, peak = [], []

    def count(path):
        loaded.append(path)
        return load(path)

    def predict(images, info):
        peak.append(len(loaded))
        return BrightnessDetector().predict(images, info)

    detect_images(predict, count, find_images(folder) * 10, InferenceOptions(["thing"], [], batch_size=2, workers=4))
    assert peak[0] <= 2 + 2 * 2 + 1


def test_plain_progress_lines_have_the_rate_since_the_start(capsys, monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))  # a second for each line
    assert list(with_progress(range(25), 25, "images", "off")) == list(range(25))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2/25 images, 2.0 images/s" and lines[-1] == "25/25 images, 1.9 images/s" and len(lines) == 13
    assert list(with_progress(range(200), None, "images read back", "off")) == list(range(200))
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["100 images read back, 100.0 images/s", "200 images read back, 100.0 images/s"]


def test_progress_bar(capsys):
    assert list(with_progress(range(3), 3, "images", "on")) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.out == "" and re.search(r"3/3 .*images/s", captured.err)


def test_image_error_is_what_the_loader_raises(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png"):
        load(tmp_path / "none.png")
