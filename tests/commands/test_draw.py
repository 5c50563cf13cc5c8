"""draw_predictions.py as its user runs it, and the picture's contents."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.commands.draw import draw_predictions
from src.common.errors import UserError
from src.evaluation.predictions import image_entry, save_predictions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def predicted(tmp_path):
    """14 images with two boxes each, annotations beside them: a data set folder."""
    folder = tmp_path / "val"
    (folder / "data").mkdir(parents=True)
    predictions, images, annotations = {}, [], []
    for i in range(14):
        path = folder / "data" / f"{i:03d}.png"
        cv2.imwrite(str(path), np.full((64, 96, 3), 90, np.uint8))
        boxes = np.array([[10, 10, 40, 50], [50, 20, 90, 60]], np.float32)
        predictions[str(path)] = image_entry(64, 96, boxes, np.array([0.8, 0.2]), np.array([0, 1]), ["cat", "dog"], [])
        images.append({"id": i, "file_name": path.name, "height": 64, "width": 96})
        annotations.append({"id": i + 1, "image_id": i, "category_id": 7, "bbox": [10, 10, 30, 40], "iscrowd": i % 2})
    categories = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}, {"id": 11, "name": "cow"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content))
    save_predictions(tmp_path / "p.json", predictions)
    return tmp_path


def test_one_picture_an_image_and_pages(predicted):
    written = draw_predictions(predicted / "p.json", predicted / "out", with_pages=True)
    assert [path.name for path in written] == [f"{i:03d}.png" for i in range(14)] + ["page_001.png", "page_002.png"]
    assert all(path.is_file() for path in written)
    picture = cv2.imread(str(written[0]))
    assert picture.shape == (427 + 28, 640, 3)


def test_score_threshold_and_number_of_images(predicted):
    both = draw_predictions(predicted / "p.json", predicted / "a", score_thr=0.1, max_images=2)
    one = draw_predictions(predicted / "p.json", predicted / "b", score_thr=0.5, max_images=2)
    assert len(both) == len(one) == 2
    right = slice(400, 620)
    assert cv2.imread(str(both[0]))[100:, right].std() > 5
    assert cv2.imread(str(one[0]))[100:, right].std() < 1


@pytest.mark.parametrize("annotations", ["val", "val/labels.json"])
def test_ground_truth_is_on_the_left(predicted, annotations):
    plain = draw_predictions(predicted / "p.json", predicted / "a", max_images=1)[0]
    truth = predicted / annotations
    paired = draw_predictions(predicted / "p.json", predicted / "b", annotations=truth, max_images=1)[0]
    plain, paired = cv2.imread(str(plain)), cv2.imread(str(paired))
    assert paired.shape[1] == 2 * plain.shape[1] + 6
    np.testing.assert_array_equal(paired[:, -640:], plain)
    left = paired[28:, :640].astype(int)
    assert (np.abs(left - left[200, 66]).max(-1) < 3).sum() > 1000  # the box's edge


def test_images_moved_with_the_json_and_missing_ones(predicted, capsys):
    (predicted / "val" / "data").rename(predicted / "moved")
    (predicted / "moved" / "003.png").unlink()
    (predicted / "p.json").rename(predicted / "moved" / "p.json")
    assert len(draw_predictions(predicted / "moved" / "p.json", predicted / "out")) == 13
    assert "003.png" in capsys.readouterr().out


def test_same_stem_twice(predicted):
    (predicted / "val" / "data" / "001.png").rename(predicted / "val" / "data" / "000.bmp")
    text = (predicted / "p.json").read_text().replace("001.png", "000.bmp")
    (predicted / "p.json").write_text(text)
    written = draw_predictions(predicted / "p.json", predicted / "out", max_images=2)
    assert [path.name for path in written] == ["000.png", "000.bmp.png"]


def test_no_image_can_be_read(predicted):
    (predicted / "val" / "data").rename(predicted / "elsewhere")
    with pytest.raises(UserError, match="none of its 14 images"):
        draw_predictions(predicted / "p.json", predicted / "out")


def test_malformed_prediction_is_named(predicted):
    content = json.loads((predicted / "p.json").read_text())
    first = next(iter(content))
    del content[first]["predictions"][0]["bbox"]
    (predicted / "p.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"000\.png"):
        draw_predictions(predicted / "p.json", predicted / "out")


def command(*arguments):
    words = [sys.executable, "draw_predictions.py", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_command(predicted):
    done = command(
        "--pred_json",
        predicted / "p.json",
        "--output_dir",
        predicted / "out",
        "--score_thr",
        "0.1",
        "--annotations",
        predicted / "val",
        "--max_images",
        "3",
        "--page",
        "1",
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (predicted / "out").iterdir()) == ["000.png", "001.png", "002.png", "page_001.png"]
    assert "3 pictures and 1 pages" in done.stdout


def test_command_reports_a_mistake_in_one_line(tmp_path):
    done = command("--pred_json", tmp_path / "none.json", "--output_dir", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
