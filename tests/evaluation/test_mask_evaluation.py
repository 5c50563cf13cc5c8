"""Evaluation of a mask model: tables, JSON, the two prediction files, annotations without masks."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.commands.draw import draw_predictions
from src.commands.evaluate import evaluate
from src.common.errors import UserError
from src.config import load_config
from src.data.formats.coco import CocoDataset
from src.data.synthetic import write_synthetic_dataset
from src.engine.evaluation_loop import EvaluationOptions, evaluate_detector
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.predictions import save_predictions, save_results
from src.model_utils.device_adapter import Device
from src.predictor.detect_images import InferenceOptions, detect_images
from tests.evaluation.truth_detector import TruthDetector, numbered_batches

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "demo" / "mask_rcnn.yaml"
CLASSES = ["circle", "square", "triangle", "star"]


class Loader:
    """The part of a loader that evaluation uses."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return -(-len(self.dataset.records) // 4)

    def epoch(self, index):
        return numbered_batches(self.dataset, 4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    write_synthetic_dataset(folder, train=0, val=10, seed=3)
    return CocoDataset(folder / "validation", CLASSES, "val", with_masks=True)


@pytest.fixture(scope="module")
def evaluated(dataset):
    """(evaluator, metrics) of a detector that misses every third object."""
    evaluator = CocoEvaluator.for_dataset(dataset, ("bbox", "segm"))
    device, net = Device("CPU"), TruthDetector(dataset, missed=3)
    metrics = evaluate_detector(net, Loader(dataset), evaluator, device, EvaluationOptions(0.5, "off"))
    return evaluator, metrics


def saved_config(dataset, path):
    return load_config(CONFIG, {"val_dataset": str(dataset.annotation_file), "prediction_path": str(path)})


def test_masks_of_the_truth_score_high_and_misses_cost_both_kinds(dataset, evaluated):
    evaluator = CocoEvaluator.for_dataset(dataset, ("bbox", "segm"))
    net, device = TruthDetector(dataset), Device("CPU")
    full = evaluate_detector(net, Loader(dataset), evaluator, device, EvaluationOptions(0.5, "off"))
    assert full.stats["bbox_mAP"] > 0.999 and full.stats["segm_mAP"] > 0.9 and full.stats["segm_mAP_50"] > 0.999
    metrics = evaluated[1]
    assert metrics.stats["bbox_mAP"] < 0.95 and metrics.stats["segm_mAP"] < metrics.stats["bbox_mAP"] + 1e-9
    assert len(metrics.stats) == 24 and list(metrics.tables) == ["bbox", "segm"]
    assert set(metrics.per_class_segm) == set(metrics.per_class_segm_50) == set(CLASSES)


def test_boxes_alone_where_no_threshold_is_given(dataset):
    evaluator, net = CocoEvaluator.for_dataset(dataset), TruthDetector(dataset)
    metrics = evaluate_detector(net, Loader(dataset), evaluator, Device("CPU"), EvaluationOptions(progress_bar="off"))
    assert list(metrics.tables) == ["bbox"] and "segmentation" not in evaluator.results()[0]


def test_saved_results_give_the_same_numbers_and_the_seeds_lines(dataset, evaluated, tmp_path, capsys):
    evaluator, metrics = evaluated
    save_results(tmp_path / "p.json", evaluator.results())
    again = evaluate(saved_config(dataset, tmp_path / "p.json"))
    assert again.stats == metrics.stats
    lines = capsys.readouterr().out.splitlines()
    order = [
        lines.index("Evaluate annotation type *bbox*"),
        lines.index(f"Bbox eval result: {metrics.stats['bbox_mAP']}"),
        lines.index("Evaluate annotation type *segm*"),
        lines.index(f"Segmentation eval result: {metrics.stats['segm_mAP']}"),
        lines.index("Evaluation done!"),
    ]
    assert order[1] - order[0] == order[3] - order[2] == 13 and order[2] == order[1] + 1 and order[3] < order[4]
    header = next(line for line in lines if line.strip().startswith("class "))
    assert header.split() == ["class", "AP", "AP50", "mask", "AP", "mask", "AP50"]
    content = json.loads((tmp_path / "p_metrics.json").read_text())
    assert content["stats"]["segm_mAP"] == metrics.stats["segm_mAP"]
    assert content["per_class_segm_AP"] == metrics.per_class_segm
    assert content["per_class_segm_AP50"] == metrics.per_class_segm_50


@pytest.fixture
def inferred(dataset, tmp_path):
    """The JSON of infer.py for the whole data set."""
    number_of = {record.image: number for number, record in enumerate(dataset.records)}

    def load(path):
        record = dataset.records[number_of[str(path)]]
        info = np.array([record.height, record.width, 2, 2, 1, 1], np.float32)
        return np.full((3, 2, 2), number_of[str(path)], np.float32), info

    net, paths = TruthDetector(dataset, missed=3), [Path(record.image) for record in dataset.records]
    options = InferenceOptions(CLASSES, dataset.category_ids, batch_size=4, mask_threshold=0.5)
    entries, broken = detect_images(net.predict, load, paths, options)
    assert not broken
    save_predictions(tmp_path / "inferred.json", entries)
    return tmp_path / "inferred.json"


def test_inference_json_has_the_seeds_masks_and_evaluates_to_the_same_numbers(dataset, evaluated, inferred):
    entries = json.loads(inferred.read_text())
    for entry in entries.values():
        for p in entry["predictions"]:
            assert list(p) == ["bbox", "class", "mask", "score"]
            assert list(p["mask"]) == ["size", "counts"] and isinstance(p["mask"]["counts"], str)
            assert p["mask"]["size"] == [entry["height"], entry["width"]]
    assert evaluate(saved_config(dataset, inferred)).stats == evaluated[1].stats


def test_inference_json_of_other_images(dataset, inferred):
    text = inferred.read_text().replace(Path(dataset.records[0].image).name, "other.png")
    inferred.write_text(text)
    with pytest.raises(UserError, match=r"inferred\.json: .*other\.png is not an image of"):
        evaluate(saved_config(dataset, inferred))


def test_pictures_of_masks(dataset, inferred, tmp_path):
    with_masks = draw_predictions(inferred, tmp_path / "a", annotations=dataset.annotation_file, max_images=1)
    entries = json.loads(inferred.read_text())
    for entry in entries.values():
        for p in entry["predictions"]:
            del p["mask"]
    save_predictions(inferred, entries)
    without = draw_predictions(inferred, tmp_path / "b", annotations=dataset.annotation_file, max_images=1)
    tinted, plain = cv2.imread(str(with_masks[0])), cv2.imread(str(without[0]))
    assert tinted.shape == plain.shape
    share = (tinted != plain).any(-1)[28:].mean(axis=0).reshape(2, -1).mean(axis=1)  # left: truth, right: predictions
    assert (share > 0.02).all()


@pytest.mark.parametrize(
    ("mask", "words"),
    [(None, "no masks"), ({"size": [3, 4], "counts": "04"}, r"image \d+ .*size"), ([[1, 2, 3, 4, 5, 6]], "run-length")],
)
def test_results_without_usable_masks(dataset, evaluated, tmp_path, mask, words):
    results = evaluated[0].results()
    results[1]["segmentation"] = mask
    save_results(tmp_path / "p.json", results)
    with pytest.raises(UserError, match=words):
        evaluate(saved_config(dataset, tmp_path / "p.json"))


def without_masks(dataset, folder, only_first=False):
    content = json.loads(dataset.annotation_file.read_text())
    for annotation in content["annotations"][: 1 if only_first else None]:
        del annotation["segmentation"]
    (folder / "data").symlink_to(dataset.images_dir)
    (folder / "labels.json").write_text(json.dumps(content))
    return folder


def test_one_annotation_without_a_mask_is_left_out_of_mask_ap(dataset, tmp_path, caplog):
    other = CocoDataset(without_masks(dataset, tmp_path, only_first=True), CLASSES, "val")
    evaluator = CocoEvaluator.for_dataset(other, ("bbox", "segm"))
    device, net = Device("CPU"), TruthDetector(dataset)
    metrics = evaluate_detector(net, Loader(dataset), evaluator, device, EvaluationOptions(0.5, "off"))
    assert metrics.stats["bbox_mAP"] > 0.999 and 0.8 < metrics.stats["segm_mAP_50"] < 0.999
    assert "1 annotations" in caplog.text


def test_command_on_annotations_without_masks(dataset, evaluated, tmp_path):
    save_results(tmp_path / "p.json", evaluated[0].results())
    words = [sys.executable, str(ROOT / "eval.py"), "--config_path", str(CONFIG), "--prediction_path"]
    words += [str(tmp_path / "p.json"), "--val_dataset", str(without_masks(dataset, tmp_path))]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1 and "labels.json" in done.stderr and "segmentation" in done.stderr


SQUARE = {"size": [20, 20], "counts": [100, 10, 290]}


def masks_of_two_images(segmentation):
    """Ground truth of two images with an object each, and the evaluation of perfect masks."""
    truth = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 20} for i in (1, 2)],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 1, "bbox": [5, 0, 1, 10], "area": 10, "segmentation": SQUARE},
            {"id": 6, "image_id": 2, "category_id": 1, "bbox": [5, 0, 1, 10], "area": 10, "segmentation": segmentation},
        ],
    }
    evaluator = CocoEvaluator(truth, ["a"], [1], ("bbox", "segm"), origin="truth.json")
    code = coco_mask.frPyObjects(SQUARE, 20, 20)
    one = {"category_id": 1, "bbox": [5, 0, 1, 10], "score": 1.0, "segmentation": code}
    evaluator.add_results([{**one, "image_id": i} for i in (1, 2)])
    return evaluator.compute_metrics()


def test_the_squares_are_found():
    assert masks_of_two_images(SQUARE).stats["segm_mAP"] == 1


@pytest.mark.parametrize(
    "garbage",
    [
        {"size": [20, 20], "counts": "x"},
        {"size": [20, 20], "counts": "oooooooooooooooooooo"},
        {"size": [20, 20], "counts": "11"},
        {"size": [20, 20], "counts": [100, 10, 291]},
        {"size": [20, 20], "counts": [100, -10, 310]},
        {"size": [20, 20], "counts": [2**70]},
        {"size": [20, 20], "counts": {"a": 1}},
        {"size": 5, "counts": "11"},
        [[1, 1, 5, "x", 7, 9]],
        [[1, 1, 5, float("nan"), 7, 9]],
        [[[1, 1], [5, 5], [7, 9], [7, 9], [7, 9], [7, 9]]],
        [[1, 2, 3, 4]],
        [5],
        "polygon",
        None,
    ],
)
def test_a_mask_that_is_garbage_is_reported_as_training_does(garbage, caplog):
    """It was evaluated as an object that no detection covers."""
    masks_of_two_images(garbage)
    assert "truth.json: 1 annotations have no usable" in caplog.text and "annotation 6 of image 2: " in caplog.text


def test_a_polygon_of_two_points_before_a_real_one_is_no_box():
    outline = [5, 0, 5, 10, 6, 10, 6, 0]
    assert (
        masks_of_two_images([[1, 1, 2, 2], outline]).stats["segm_mAP"]
        == masks_of_two_images([outline]).stats["segm_mAP"]
    )


@pytest.mark.parametrize("counts", ["x", "oooooooooooooooooooo", "11", [2**70]])
def test_a_predicted_mask_that_is_garbage_is_refused(counts):
    evaluator = CocoEvaluator(
        {"images": [{"id": 1, "height": 20, "width": 20}], "annotations": [], "categories": []}, ["a"], [1], ("segm",)
    )
    code = {"size": [20, 20], "counts": counts}
    with pytest.raises(UserError, match="predictions: a mask of image 1 cannot be evaluated: "):
        evaluator.add_results([{"image_id": 1, "category_id": 1, "score": 1, "segmentation": code}])
