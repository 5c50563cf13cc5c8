"""The evaluator against pycocotools: stored numbers, random data, and the corners of the format."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from src.common.errors import UserError
from src.evaluation.coco_evaluator import CocoEvaluator

ORACLES = Path(__file__).parents[1] / "oracles" / "coco_eval"
KEYS = ["mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l", "AR_1", "AR_10", "AR_100", "AR_s", "AR_m", "AR_l"]


def read(name):
    return json.loads((ORACLES / name).read_text())


def evaluator_for(dataset, iou_types=("bbox",)):
    categories = sorted(dataset["categories"], key=lambda category: category["id"])
    return CocoEvaluator(dataset, [c["name"] for c in categories], [c["id"] for c in categories], iou_types)


def pycocotools(dataset, results):
    """(12 numbers, AP of each class, printed table) of pycocotools."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(result) for result in results]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        with contextlib.redirect_stdout(printed):
            evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    measured = [precision[:, :, k][precision[:, :, k] > -1] for k in range(precision.shape[2])]
    return evaluation.stats, [m.mean() if len(m) else -1.0 for m in measured], printed.getvalue().rstrip("\n")


def random_dataset(seed, images=12, classes=4, objects=60, detections=900):
    """Crowds, equal scores, areas at the range limits, boxes without area, over 100 detections an image and class,
    images and classes without objects."""
    rng = np.random.default_rng(seed)
    size = rng.choice([8, 32, 60, 96, 150], (objects, 2)).astype(float)
    boxes = np.concatenate([rng.integers(0, 200, (objects, 2)), size], 1)
    image, label = rng.integers(3, images + 1, objects), rng.integers(1, classes, objects)
    annotations = [
        {
            "id": i + 1,
            "image_id": int(image[i]),
            "category_id": int(label[i]),
            "bbox": boxes[i].tolist(),
            "area": float(size[i].prod()),
            "iscrowd": int(rng.random() < 0.15),
        }
        for i in range(objects)
    ]
    source = rng.integers(0, objects, detections)
    found = boxes[source] + rng.integers(-6, 7, (detections, 4)) * (rng.random((detections, 1)) < 0.8)
    found[:, 2:] = np.maximum(found[:, 2:], 0)
    crowded = rng.random(detections) < 0.3
    found_image, found_label = np.where(crowded, 3, image[source]), np.where(crowded, 1, label[source])
    results = [
        {
            "image_id": int(found_image[i]),
            "category_id": int(found_label[i]),
            "bbox": found[i].tolist(),
            "score": float(rng.integers(0, 30) / 30),
        }
        for i in range(detections)
    ]
    results += [{"image_id": 1, "category_id": classes, "bbox": [0.0, 0.0, 40.0, 40.0], "score": 0.9}]
    dataset = {
        "images": [{"id": i + 1, "height": 400, "width": 400} for i in range(images)],
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": f"class {k}"} for k in range(classes)],
    }
    return dataset, results


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("name", ["subset", "val2014_100"])
def test_equals_stored_pycocotools_numbers(name, iou_type):
    dataset, expected = read(f"{name}_annotations.json"), read("expected.json")[name][iou_type]
    results = read("subset_results.json" if name == "subset" else f"val2014_100_{iou_type}_results.json")
    evaluator = evaluator_for(dataset, (iou_type,))
    evaluator.add_results(results)
    metrics = evaluator.compute_metrics()
    assert list(metrics.stats) == [f"{iou_type}_{key}" for key in KEYS]
    np.testing.assert_allclose(list(metrics.stats.values()), expected["stats"], atol=1e-9, rtol=0)
    names = {str(category["id"]): category["name"] for category in dataset["categories"]}
    assert len(expected["per_class_AP"]) == 80
    for category, value in expected["per_class_AP"].items():
        assert metrics.per_class[names[category]] == pytest.approx(value, abs=1e-9)
    if "stats_of_images_with_results" in expected:
        part, wanted = evaluator.compute_metrics(evaluator.image_ids), expected["stats_of_images_with_results"]
        assert part.num_images == 99
        np.testing.assert_allclose(list(part.stats.values()), wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_equals_pycocotools_on_random_data(seed):
    dataset, results = random_dataset(seed)
    stats, by_class, table = pycocotools(dataset, results)
    evaluator = evaluator_for(dataset)
    evaluator.add_results(results)
    metrics = evaluator.compute_metrics()
    assert 0.1 < stats[0] < 0.9
    np.testing.assert_allclose(list(metrics.stats.values()), stats, atol=1e-9, rtol=0)
    np.testing.assert_allclose(list(metrics.per_class.values()), by_class, atol=1e-9, rtol=0)
    assert by_class[3] == -1.0
    assert metrics.table == table
    assert len(table.splitlines()) == 12


def test_both_kinds_of_overlap_at_once():
    expected = read("expected.json")["subset"]
    evaluator = evaluator_for(read("subset_annotations.json"), ("bbox", "segm"))
    evaluator.add_results(read("subset_results.json"))
    metrics = evaluator.compute_metrics()
    assert next(iter(metrics.stats)) == "bbox_mAP"
    assert metrics.stats["segm_mAP"] == pytest.approx(expected["segm"]["stats"][0], abs=1e-9)
    assert metrics.per_class["person"] == pytest.approx(expected["bbox"]["per_class_AP"]["1"], abs=1e-9)
    assert metrics.per_class_segm["person"] == pytest.approx(expected["segm"]["per_class_AP"]["1"], abs=1e-9)
    assert "*bbox*" in metrics.table and "*segm*" in metrics.table


def test_no_detections_scores_zero():
    dataset, _ = random_dataset(0)
    metrics = evaluator_for(dataset).compute_metrics()
    assert metrics.stats["bbox_mAP"] == 0.0 and metrics.stats["bbox_AR_100"] == 0.0
    assert list(metrics.per_class.values()) == [0.0, 0.0, 0.0, -1.0]
    assert metrics.num_images == 12 and metrics.num_detections == 0


@pytest.mark.parametrize("missing", [{"annotations": []}, {"annotations": None}, {"annotations": [], "categories": []}])
def test_annotations_without_objects_give_minus_one(missing):
    dataset, results = random_dataset(0)
    evaluator = CocoEvaluator({**dataset, **missing}, [f"class {k}" for k in range(4)], [1, 2, 3, 4])
    evaluator.add_results(results)
    metrics = evaluator.compute_metrics()
    assert set(metrics.stats.values()) == {-1.0}
    assert " = -1.000" in metrics.table


def test_evaluating_no_image_at_all():
    dataset, results = random_dataset(0)
    evaluator = evaluator_for(dataset)
    evaluator.add_results(results)
    assert set(evaluator.compute_metrics(image_ids=[]).stats.values()) == {-1.0}


def test_restricted_images_equal_a_restricted_dataset():
    dataset, results = random_dataset(1)
    evaluator = evaluator_for(dataset)
    evaluator.add_results(results)
    kept = {3, 4, 5, 6}
    part = {
        **dataset,
        "images": [image for image in dataset["images"] if image["id"] in kept],
        "annotations": [a for a in dataset["annotations"] if a["image_id"] in kept],
    }
    stats, _, _ = pycocotools(part, [result for result in results if result["image_id"] in kept])
    np.testing.assert_allclose(list(evaluator.compute_metrics(kept).stats.values()), stats, atol=1e-9, rtol=0)


def test_annotation_ids_do_not_matter():
    """pycocotools takes the object with id 0 for 'not matched'."""
    dataset, results = random_dataset(2)
    evaluator = evaluator_for(dataset)
    evaluator.add_results(results)
    expected = evaluator.compute_metrics().stats
    for annotation in dataset["annotations"]:
        annotation["id"] = 0
    again = evaluator_for(dataset)
    again.add_results(results)
    assert again.compute_metrics().stats == expected


def test_optional_and_broken_annotation_entries(caplog):
    dataset, results = random_dataset(3)
    for annotation in dataset["annotations"]:
        annotation["iscrowd"] = 0
    expected, _, _ = pycocotools(dataset, results)
    for annotation in dataset["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    dataset["annotations"] += [
        {"id": 900, "image_id": 3, "category_id": 1},
        {"id": 901, "image_id": 3, "category_id": 1, "bbox": [1, 2, 3]},
        {"id": 902, "image_id": 777, "category_id": 1, "bbox": [1, 2, 3, 4]},
    ]
    evaluator = evaluator_for(dataset)
    evaluator.add_results(results)
    np.testing.assert_allclose(list(evaluator.compute_metrics().stats.values()), expected, atol=1e-9, rtol=0)
    assert "2 annotations" in caplog.text


def test_add_ignores_invalid_rows_fillers_and_repeated_images():
    dataset, _ = random_dataset(0)
    evaluator = evaluator_for(dataset)
    boxes = np.tile(np.array([10, 20, 40, 80], np.float32), (3, 2, 1))
    scores = np.array([[0.9, 0.5]] * 3, np.float32)
    labels, valid = np.array([[2, 1]] * 3, np.int32), np.array([[True, False], [True, True], [True, True]])
    evaluator.add(np.array([5, 7, -1]), [boxes, scores, labels, valid])
    evaluator.add(np.array([7, -1, -1]), [boxes, scores, labels, valid])
    evaluator.add(np.array([9, -1, -1]), [boxes, scores, labels, np.zeros((3, 2), bool)])
    assert evaluator.image_ids == [5, 7, 9]
    results = evaluator.results()
    assert [(r["image_id"], r["category_id"]) for r in results] == [(5, 3), (7, 3), (7, 2)]
    assert results[0]["bbox"] == [10.0, 20.0, 30.0, 60.0]
    assert results[0]["score"] == pytest.approx(0.9)
    assert json.loads(json.dumps(results)) == results


def test_parts_of_ranks_merge_to_the_same_numbers():
    dataset, results = random_dataset(4)
    whole = evaluator_for(dataset)
    whole.add_results(results)
    ranks = [evaluator_for(dataset) for _ in range(2)]
    for rank, evaluator in enumerate(ranks):
        evaluator.add_results([result for result in results if result["image_id"] % 2 == rank])
    part = ranks[1].part()
    ranks[0].add_part(part)
    assert ranks[0].compute_metrics().stats == whole.compute_metrics().stats
    assert ranks[0].image_ids == whole.image_ids
    ranks[0].add_part(part)
    assert ranks[0].compute_metrics().num_detections == len(results)


def test_parts_carry_masks():
    dataset, results = read("subset_annotations.json"), read("subset_results.json")
    ranks = [evaluator_for(dataset, ("segm",)) for _ in range(2)]
    for rank, evaluator in enumerate(ranks):
        evaluator.add_results([result for result in results if result["image_id"] % 2 == rank])
    ranks[0].add_part(ranks[1].part())
    expected = read("expected.json")["subset"]["segm"]["stats"]
    np.testing.assert_allclose(list(ranks[0].compute_metrics().stats.values()), expected, atol=1e-9, rtol=0)


def test_empty_part():
    dataset, _ = random_dataset(0)
    evaluator = evaluator_for(dataset)
    evaluator.add_part(evaluator_for(dataset).part())
    assert evaluator.image_ids == []


def test_metrics_json(tmp_path):
    dataset, results = random_dataset(5)
    evaluator = evaluator_for(dataset)
    evaluator.add_results(results)
    metrics = evaluator.compute_metrics()
    metrics.to_json(tmp_path / "new" / "metrics.json")
    content = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert content["stats"] == metrics.stats
    assert content["per_class_AP"] == metrics.per_class
    assert list(content["per_class_AP50"]) == ["class 0", "class 1", "class 2", "class 3"]
    assert content["per_class_AP50"]["class 0"] >= content["per_class_AP"]["class 0"] > 0
    assert content["images"] == 12 and content["detections"] == len(results)
    lines = metrics.per_class_table().splitlines()
    assert lines[1].split()[:2] == ["class", "0"] and f"{metrics.per_class['class 0']:.3f}" in lines[1]


def test_results_of_other_images_are_refused():
    dataset, results = random_dataset(0)
    results[0]["image_id"] = 4242
    with pytest.raises(UserError, match=r"4242.*do not correspond"):
        evaluator_for(dataset).add_results(results)


def test_results_of_other_classes_are_refused():
    dataset, results = random_dataset(0)
    results[0]["category_id"] = 99
    with pytest.raises(UserError, match="99"):
        evaluator_for(dataset).add_results(results)


@pytest.mark.parametrize("broken", [{}, {"bbox": [1, 2, 3]}, {"bbox": "x"}, {"score": None}])
def test_malformed_results_are_refused(broken):
    result = {"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    result = {**result, **broken} if broken else {"image_id": 3}
    with pytest.raises(UserError, match="bbox"):
        evaluator_for(random_dataset(0)[0]).add_results([result])


def test_masks_are_asked_for():
    with pytest.raises(UserError, match="mask"):
        evaluator_for(random_dataset(0)[0], ("segm",)).add_results(random_dataset(0)[1])


@pytest.mark.parametrize(("text", "match"), [("{", "not a JSON file"), ("[]", "images"), ('{"images": 3}', "images")])
def test_bad_annotation_files(tmp_path, text, match):
    path = tmp_path / "annotations.json"
    path.write_text(text)
    with pytest.raises(UserError, match=match) as error:
        CocoEvaluator(path, ["a"], [1])
    assert str(path) in str(error.value)


def test_missing_annotation_file(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        CocoEvaluator(tmp_path / "none.json", ["a"], [1])


def test_categories_must_agree_with_the_names():
    dataset, _ = random_dataset(0)
    with pytest.raises(UserError, match="2 'class 0'"):
        CocoEvaluator(dataset, ["class 0"], [2])
    with pytest.raises(UserError, match="8 'class 0'"):
        CocoEvaluator(dataset, ["class 0"], [8])
    with pytest.raises(UserError, match="2 ids for 1 class"):
        CocoEvaluator(dataset, ["class 0"], [1, 2])


def test_annotation_path_and_unsorted_category_ids(tmp_path):
    """Labels follow the order of category_ids, whatever it is."""
    dataset, results = random_dataset(1)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(dataset))
    evaluator = CocoEvaluator(path, ["class 2", "class 0"], [3, 1])
    evaluator.add_results([result for result in results if result["category_id"] in (1, 3)])
    _, by_class, _ = pycocotools(dataset, results)
    assert evaluator.compute_metrics().per_class == pytest.approx(
        {"class 2": by_class[2], "class 0": by_class[0]}, abs=1e-9
    )
