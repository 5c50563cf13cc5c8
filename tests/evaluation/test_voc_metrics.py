"""Pascal VOC's average precision: by hand, and against the definition written out one detection at a time."""

import json
from fractions import Fraction

import numpy as np
import pytest

from src.blocks.detections import Detections
from src.commands.evaluate import evaluate
from src.common.errors import UserError
from src.config import load_config
from src.data.formats.voc import VocDataset
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.coco_matching import Objects
from src.evaluation.voc_metrics import voc_precision
from tests.conftest import ROOT
from tests.data.coco_files import NAMES
from tests.data.listed_files import write_year

GOOD, WORSE, FAR = (0, 0, 10, 10), (0, 0, 10, 6), (50, 50, 10, 10)  # x, y, width, height; WORSE has IoU 0.6 with GOOD


def objects(rows: list[tuple], found: bool = False) -> Objects:
    """Rows of (image, label, box, score or difficult)."""
    image, label, boxes, last = zip(*rows, strict=True) if rows else ((), (), (), ())
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    return Objects(
        np.array(image, np.int64),
        np.array(label, np.int64),
        boxes,
        boxes[:, 2] * boxes[:, 3],
        np.array(last, np.float64) if found else np.zeros(len(boxes)),
        np.zeros(len(boxes), bool),
        difficult=None if found else np.array(last, bool),
    )


def precision(truth: list[tuple], found: list[tuple], num_classes: int = 1) -> tuple[list[float], list[float]]:
    result = voc_precision(objects(truth), objects(found, found=True), 10, num_classes)
    return result.ap_11_points.tolist(), result.ap_all_points.tolist()


def test_by_hand():
    truth = [(0, 0, GOOD, 0), (1, 0, GOOD, 0), (2, 0, GOOD, 0), (3, 0, GOOD, 0)]
    # By falling score: right, wrong, right, right; one object is missed. Precision 1, 1/2, 2/3, 3/4 at recall 1/4, 1/4,
    # 2/4, 3/4; made monotonous 1, 3/4, 3/4, 3/4.
    found = [(0, 0, GOOD, 0.9), (0, 0, FAR, 0.8), (1, 0, GOOD, 0.7), (2, 0, WORSE, 0.6)]
    eleven, every = precision(truth, found)
    # Recalls 0, 0.1, 0.2 have 1; 0.3 to 0.7 have 3/4; 0.8 to 1 have 0.
    assert eleven == pytest.approx([(3 * 1 + 5 * 0.75) / 11], abs=1e-12)
    assert every == pytest.approx([0.25 * 1 + 0.5 * 0.75], abs=1e-12)


def test_a_second_detection_of_an_object_is_wrong():
    eleven, every = precision(
        [(0, 0, GOOD, 0), (1, 0, GOOD, 0)], [(0, 0, GOOD, 0.9), (0, 0, WORSE, 0.8), (1, 0, GOOD, 0.7)]
    )
    assert every == pytest.approx([0.5 + 0.5 * 2 / 3]) and eleven == pytest.approx([(6 + 5 * 2 / 3) / 11])


def test_the_object_overlapped_most_is_taken_even_if_it_is_taken_already():
    near = (0, 0, 10, 8)  # the second detection overlaps both objects by at least 0.5, the first object more
    truth = [(0, 0, GOOD, 0), (0, 0, near, 0)]
    _, every = precision(truth, [(0, 0, GOOD, 0.9), (0, 0, (0, 0, 10, 9.5), 0.8)])
    assert every == pytest.approx([0.5])


def test_detections_of_difficult_objects_are_neither_right_nor_wrong():
    truth = [(0, 0, GOOD, 1), (0, 0, FAR, 0)]
    found = [(0, 0, GOOD, 0.9), (0, 0, WORSE, 0.8), (0, 0, FAR, 0.7)]
    assert precision(truth, found) == ([1.0], [1.0])
    assert precision([(0, 0, GOOD, 1)], found) == ([-1.0], [-1.0])


def test_an_overlap_of_just_one_half_is_enough():
    half = [(0, 0, (0, 0, 10, 5), 0.9)]
    assert precision([(0, 0, GOOD, 0)], half) == ([1.0], [1.0])
    assert precision([(0, 0, GOOD, 0)], [(0, 0, (0, 0, 10, 4.9), 0.9)]) == ([0.0], [0.0])


def test_overlaps_are_those_of_the_devkit():
    """VOC's formula adds 1 to sides, since its boxes hold their last pixel; records end behind it."""
    mine, other = np.array([48, 240, 195, 371]), np.array([60, 230, 200, 360])  # as VOC writes them
    sides = np.minimum(mine[2:], other[2:]) - np.maximum(mine[:2], other[:2]) + 1
    union = np.prod(mine[2:] - mine[:2] + 1) + np.prod(other[2:] - other[:2] + 1) - sides.prod()
    overlap = sides.prod() / union
    boxes = [(*(one[:2] - 1), *(one[2:] - one[:2] + 1)) for one in (mine, other)]
    for least, expected in ((overlap, 1.0), (overlap + 1e-9, 0.0)):
        result = voc_precision(objects([(0, 0, boxes[0], 0)]), objects([(0, 0, boxes[1], 0.5)], True), 1, 1, least)
        assert result.ap_all_points == expected


def test_nothing_found_and_nothing_there():
    assert precision([(0, 0, GOOD, 0)], [], 2) == ([0.0, -1.0], [0.0, -1.0])
    assert precision([], [(0, 1, GOOD, 0.5)], 2) == ([-1.0, -1.0], [-1.0, -1.0])
    assert precision([(0, 0, GOOD, 0)], [(1, 0, GOOD, 0.5), (0, 1, GOOD, 0.5)], 2) == ([0.0, -1.0], [0.0, -1.0])


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def by_definition(truth: list[tuple], found: list[tuple], label: int) -> tuple[Fraction, Fraction]:
    """AP at 11 points and at all points, in whole numbers."""
    truth = [row for row in truth if row[1] == label]
    total = sum(not row[3] for row in truth)
    if total == 0:
        return Fraction(-1), Fraction(-1)
    right, wrong, taken = 0, 0, set()
    points = []  # recall, precision after each detection
    for image, _, box, _ in sorted((row for row in found if row[1] == label), key=lambda row: -row[3]):
        candidates = [(overlap(box, row[2]), -n) for n, row in enumerate(truth) if row[0] == image]
        best, index = max(candidates, default=(0.0, 0))
        if best >= 0.5 and truth[-index][3]:
            continue
        if best >= 0.5 and -index not in taken:
            taken.add(-index)
            right += 1
        else:
            wrong += 1
        points.append((Fraction(right, total), Fraction(right, right + wrong)))
    eleven = sum(max((p for r, p in points if r >= Fraction(t, 10)), default=Fraction(0)) for t in range(11)) / 11
    area, last = Fraction(0), Fraction(0)
    for recall in sorted({r for r, _ in points}):
        area += (recall - last) * max(p for r, p in points if r >= recall)
        last = recall
    return eleven, area


@pytest.mark.parametrize("seed", range(8))
def test_against_the_definition(seed):
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(10):
        for _ in range(rng.integers(0, 8)):
            box = np.round(rng.uniform(0, 40, 4) + (0, 0, 10, 10))
            label = int(rng.integers(0, 3))
            truth.append((image, label, box, rng.random() < 0.2))
            for _ in range(rng.integers(0, 4)):
                moved = box + rng.normal(0, 3, 4).round()
                other = int(rng.integers(0, 3)) if rng.random() < 0.1 else label
                found.append((image, other, moved, round(rng.random(), 6)))
        found += [(image, int(rng.integers(0, 4)), rng.uniform(0, 40, 4), rng.random()) for _ in range(3)]
    eleven, every = precision(truth, found, 4)
    for label in range(4):
        expected = by_definition(truth, found, label)
        assert (eleven[label], every[label]) == pytest.approx(tuple(map(float, expected)), abs=1e-12)
    assert -1 in every and 0.05 < max(every) < 1


def annotations() -> dict:
    boxes = [(1, 1, GOOD, 0), (1, 2, FAR, 0), (2, 1, GOOD, 1), (2, 1, FAR, 0)]
    return {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {
                "id": n,
                "image_id": image,
                "category_id": category,
                "bbox": list(box),
                "area": 100,
                "difficult": difficult,
            }
            for n, (image, category, box, difficult) in enumerate(boxes)
        ],
    }


def detections() -> Detections:
    """In image 1 everything; in image 2 the difficult object twice, before the other one."""
    xyxy = {name: (x, y, x + w, y + h) for name, (x, y, w, h) in (("g", GOOD), ("w", WORSE), ("f", FAR))}
    boxes = np.array([[xyxy["g"], xyxy["f"], xyxy["f"]], [xyxy["g"], xyxy["w"], xyxy["f"]]], np.float32)
    scores = np.array([[0.9, 0.8, 0], [0.95, 0.9, 0.3]], np.float32)
    labels = np.array([[0, 1, 0], [0, 0, 0]])
    return Detections(boxes, scores, labels, scores > 0)


def test_the_evaluator_reports_both_means_beside_cocos(tmp_path):
    evaluator = CocoEvaluator(annotations(), ["cat", "dog"], [1, 2], with_voc=True)
    evaluator.add([1, 2], detections())
    metrics = evaluator.compute_metrics()
    # The difficult object does not count in COCO's numbers either, nor do its two detections.
    for name in ("bbox_mAP_50", "bbox_AR_100", "VOC07_mAP", "VOC_mAP"):
        assert metrics.stats[name] == pytest.approx(1.0)
    assert (
        "VOC07_mAP @[ IoU=0.50 |  11 points ] = 1.000\n VOC_mAP   @[ IoU=0.50 | all points ] = 1.000"
        in metrics.voc_table
    )
    assert metrics.per_class_table().splitlines()[0].split() == ["class", "AP", "AP50", "VOC07", "AP", "VOC", "AP"]
    assert metrics.per_class_table().splitlines()[1].split()[2:] == ["1.000", "1.000", "1.000"]
    metrics.to_json(tmp_path / "m.json")
    content = json.loads((tmp_path / "m.json").read_text())
    assert content["per_class_VOC_AP"] == {"cat": 1.0, "dog": 1.0} and content["stats"]["VOC07_mAP"] == 1.0


def test_without_the_flag_difficult_objects_count():
    content = annotations()
    for one in content["annotations"]:
        one["difficult"] = 0
    evaluator = CocoEvaluator(content, ["cat", "dog"], [1, 2])
    evaluator.add([1, 2], detections())
    metrics = evaluator.compute_metrics()
    assert metrics.stats["bbox_mAP_50"] < 0.99  # the second detection of an object is wrong now
    assert metrics.voc_table == "" and "VOC_mAP" not in metrics.stats and "VOC" not in metrics.per_class_table()


def test_only_some_images():
    evaluator = CocoEvaluator(annotations(), ["cat", "dog"], [1, 2], with_voc=True)
    evaluator.add([1, 2], detections())
    assert evaluator.compute_metrics([2]).per_class_voc == {"cat": 1.0, "dog": -1.0}
    assert evaluator.compute_metrics([2]).stats["VOC_mAP"] == pytest.approx(1.0)


def test_eval_command_on_voc_data(tmp_path, capsys):
    """The JSON of infer.py against VOC folders: COCO's table, VOC's means and a column a mean for each class."""
    year = write_year(tmp_path / "VOC2007", {"test": ["a", "b", "c"]})
    predictions = {}
    for record in VocDataset(year, NAMES, "val").records:
        names = [NAMES[label] for label in record.labels]
        corners = [dict(zip(("x_min", "y_min"), box[:2], strict=True)) for box in record.boxes.tolist()]
        sides = [{"width": x2 - x1, "height": y2 - y1} for x1, y1, x2, y2 in record.boxes.tolist()]
        found = [
            {"bbox": corner | side, "class": {"label": 0, "category_id": 0, "name": name}, "score": 0.5}
            for corner, side, name in zip(corners, sides, names, strict=True)
        ]
        predictions[record.image] = {"height": 40, "width": 60, "predictions": found}
    path = tmp_path / "found.json"
    path.write_text(json.dumps(predictions))
    values = {
        "dataset": "voc",
        "val_dataset": str(tmp_path),
        "prediction_path": str(path),
        "coco_classes": ["background", *NAMES],
        "num_classes": 4,
        "category_ids": [],
    }
    metrics = evaluate(load_config(ROOT / "configs/demo/spinenet_retinanet.yaml", values))
    assert metrics.stats["VOC07_mAP"] == pytest.approx(1) and metrics.stats["VOC_mAP"] == pytest.approx(1)
    shown = capsys.readouterr().out
    assert "Pascal VOC\n VOC07_mAP @[ IoU=0.50 |  11 points ] = 1.000" in shown and "VOC07 AP" in shown
    written = json.loads((tmp_path / "found_metrics.json").read_text())
    assert written["stats"]["VOC_mAP"] == pytest.approx(1) and set(written["per_class_VOC_AP"]) == set(NAMES)

    (tmp_path / "found_metrics.json").unlink()
    (tmp_path / "found_metrics.json").mkdir()  # a place that cannot be written to: the table is not lost
    with pytest.raises(UserError, match="found_metrics.json: cannot write this file"):
        evaluate(load_config(ROOT / "configs/demo/spinenet_retinanet.yaml", values))
    assert "VOC07_mAP @[ IoU=0.50" in capsys.readouterr().out
