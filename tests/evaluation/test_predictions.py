"""COCO results and the inference JSON: exact shapes, round trips, messages."""

import json

import numpy as np
import pytest

from src.common.errors import UserError
from src.evaluation.predictions import image_entry, load_predictions, load_results, save_predictions, save_results

RESULTS = [{"image_id": 7, "category_id": 3, "bbox": [1.5, 2.0, 3.25, 4.125], "score": 0.10000000149011612}]


def entry(category_ids=()):
    boxes = np.array([[-5, 10.5, 30, 500], [100, 20, 700, 60], [1, 2, 3, 4]], np.float32)
    scores, labels = np.array([0.25, 0.5, 0.125], np.float32), np.array([1, 0, 1], np.int32)
    return image_entry(425, 640, boxes, scores, labels, ["person", "tv"], list(category_ids))


def test_inference_entry_has_the_documented_shape():
    result = entry()
    assert list(result) == ["height", "width", "predictions"]
    assert (result["height"], result["width"]) == (425, 640)
    assert result["predictions"][0] == {
        "bbox": {"x_min": 100.0, "y_min": 20.0, "width": 540.0, "height": 40.0},
        "class": {"label": 0, "category_id": "unknown", "name": "person"},
        "score": 0.5,
    }
    assert list(result["predictions"][0]) == ["bbox", "class", "score"]


def test_boxes_stay_inside_and_best_comes_first():
    result = entry()
    assert [p["score"] for p in result["predictions"]] == [0.5, 0.25, 0.125]
    assert result["predictions"][1]["bbox"] == {"x_min": 0.0, "y_min": 10.5, "width": 30.0, "height": 414.5}


def test_boxes_of_any_precision_stay_inside():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(-50, 700, (2000, 4)).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    boxes[:100, 0] = np.float32(1e-7)
    for p in image_entry(431, 577, boxes, rng.random(2000), np.zeros(2000, int), ["a"], [])["predictions"]:
        box = p["bbox"]
        assert box["x_min"] >= 0 and box["y_min"] >= 0 and box["width"] >= 0 and box["height"] >= 0
        assert box["x_min"] + box["width"] <= 577 and box["y_min"] + box["height"] <= 431


def test_category_ids_of_the_data_set():
    assert [p["class"]["category_id"] for p in entry([1, 72])["predictions"]] == [1, 72, 72]


def test_entry_without_boxes():
    result = image_entry(4, 6, np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), ["a"], [])
    assert result == {"height": 4, "width": 6, "predictions": []}


def test_inference_json_round_trip(tmp_path):
    predictions = {"/data/ä.jpg": entry(), "b.png": entry([1, 72])}
    save_predictions(tmp_path / "out" / "p.json", predictions)
    assert load_predictions(tmp_path / "out" / "p.json") == predictions
    assert (tmp_path / "out" / "p.json").read_text().startswith('{\n "/data/ä.jpg": {\n  "height": 425,')


def test_coco_results_round_trip(tmp_path):
    save_results(tmp_path / "r.json", RESULTS)
    assert load_results(tmp_path / "r.json") == RESULTS
    save_results(tmp_path / "r.json", [])
    assert load_results(tmp_path / "r.json") == []


def test_broken_json_names_file_and_place(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(RESULTS)[:-10])
    with pytest.raises(UserError, match=r"r\.json, line 1, column \d+: broken predictions"):
        load_results(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        load_results(path)
    with pytest.raises(UserError, match="cannot read"):
        load_results(tmp_path / "none.json")


def test_the_two_formats_are_told_apart(tmp_path):
    path = tmp_path / "p.json"
    save_predictions(path, {"a.jpg": entry()})
    with pytest.raises(UserError, match=r"infer\.py"):
        load_results(path)
    save_results(path, RESULTS)
    with pytest.raises(UserError, match="COCO results"):
        load_predictions(path)


@pytest.mark.parametrize("content", ["3", "[1]", '{"a": 1}', '{"images": []}'])
def test_something_else(tmp_path, content):
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"p\.json"):
        load_results(path)
    with pytest.raises(UserError, match=r"p\.json"):
        load_predictions(path)
