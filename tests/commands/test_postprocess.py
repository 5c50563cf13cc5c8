"""Result files become COCO's table: the same as by hand, image by image, with a line for each mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.blocks.detections import Detections
from src.commands.postprocess import postprocess
from src.common.errors import UserError
from src.data.network_input import EvalTransform, Normalizer, image_info
from src.data.sample import Sample
from src.deploy.raw_selection import build_selection
from src.deploy.result_files import result_paths, write_results
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.masks import encode_detections
from tests.data.coco_files import IDS, NAMES, noise_image, write_dataset
from tests.deploy.cards import PREPROCESSING, write_card

LEVELS = [60, 15]
ROOT = Path(__file__).parents[2]
SCALE = 64 / 60  # images are 40 x 60, resized into 64 x 64


@pytest.fixture
def case(tmp_path: Path) -> dict[str, str]:
    """Arguments of postprocess for six images, of which the results are noise and their objects."""
    write_dataset(tmp_path)
    card = write_card(tmp_path / "net.mindir", NAMES, LEVELS)
    annotations = json.loads((tmp_path / "labels.json").read_text())
    for image in annotations["images"]:
        boxes, scores = noise(image["id"])
        objects = [a for a in annotations["annotations"] if a["image_id"] == image["id"]]
        for row, one in enumerate(objects):
            x, y, w, h = one["bbox"]
            boxes[row] = np.array([x, y, x + w, y + h]) * SCALE
            scores[row, card.class_names.index(NAMES[IDS.index(one["category_id"])])] = 0.9
        write_results(tmp_path / "result_Files", image["file_name"], [boxes, scores])
    return {
        "mindir_path": str(tmp_path / "net.mindir"),
        "result_path": str(tmp_path / "result_Files"),
        "anno_path": str(tmp_path / "labels.json"),
        "img_path": str(tmp_path / "data"),
        "prediction_path": str(tmp_path / "out/found.json"),
    }


def noise(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 50, (sum(LEVELS), 2))
    boxes = np.concatenate([corners, corners + rng.uniform(3, 30, corners.shape)], 1)
    return boxes.astype(np.float32), rng.uniform(0, 0.2, (sum(LEVELS), 3)).astype(np.float32)


def test_objects_are_found(case: dict[str, str], capsys: pytest.CaptureFixture) -> None:
    metrics = postprocess(**case)
    assert metrics.stats["bbox_mAP_50"] == 1.0 and metrics.num_images == 6
    out = capsys.readouterr().out
    assert out.count(" Average ") == 12 and f"mAP: {metrics.stats['bbox_mAP']}\n" in out
    written = json.loads(Path(case["prediction_path"]).with_name("found_metrics.json").read_text())
    assert written["stats"] == metrics.stats


def test_detections_are_those_of_the_selection(case: dict[str, str]) -> None:
    postprocess(**case)
    card = json.loads(Path(case["mindir_path"]).with_suffix(".json").read_text())
    select = build_selection(card["selection"])
    evaluator = CocoEvaluator(case["anno_path"], NAMES, IDS)
    info = np.array([[40, 60, 43, 64, 43 / 40, 64 / 60]], np.float32)
    for image in evaluator.annotations["images"]:
        boxes, scores = (np.fromfile(p, np.float32) for p in result_paths(case["result_path"], image["file_name"]))
        evaluator.add([image["id"]], select(boxes.reshape(1, -1, 4), scores.reshape(1, -1, 3), info))
    expected = evaluator.results()
    assert len(expected) > 100
    assert json.loads(Path(case["prediction_path"]).read_text()) == expected


def test_a_txt_list_annotates_too(case: dict[str, str], tmp_path: Path) -> None:
    annotations, lines = json.loads(Path(case["anno_path"]).read_text()), []
    for image in annotations["images"]:
        objects = [(a["bbox"], a["category_id"]) for a in annotations["annotations"] if a["image_id"] == image["id"]]
        boxes = [f"{x},{y},{x + w},{y + h},{IDS.index(category) + 1}" for (x, y, w, h), category in objects]
        lines.append(" ".join([image["file_name"], *boxes]))
    (tmp_path / "list.txt").write_text("\n".join(lines))
    expected = postprocess(**case)
    found = postprocess(**{**case, "anno_path": str(tmp_path / "list.txt"), "dataset": "other"})
    assert found.stats == expected.stats and found.per_class == expected.per_class


def test_the_command(case: dict[str, str]) -> None:
    words = [word for name, value in case.items() for word in (f"--{name}", value)]
    done = subprocess.run(
        [sys.executable, ROOT / "postprocess.py", *words], cwd=case["img_path"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("mAP: ")
    Path(case["mindir_path"]).unlink()
    done = subprocess.run(
        [sys.executable, ROOT / "postprocess.py", *words], cwd=case["img_path"], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith(f"error: {case['mindir_path']} does not exist")


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (64, 64), (1, 300), (427, 640)])
@pytest.mark.parametrize("keep_ratio", [True, False])
def test_sizes_are_those_of_the_network_input(size: tuple[int, int], keep_ratio: bool) -> None:
    transform = EvalTransform((64, 64), (64, 96), keep_ratio, Normalizer([0] * 3, [1] * 3))
    np.testing.assert_array_equal(transform.info_of(size), transform(noise_image(*size))[1])
    same = Sample(noise_image(*size), original_hw=size)
    assert image_info(same).dtype == transform.info_of(size).dtype


def test_images_without_results_count(case: dict[str, str], capsys: pytest.CaptureFixture) -> None:
    for path in result_paths(case["result_path"], "002.png"):
        path.unlink()
    metrics = postprocess(**case)
    assert metrics.num_images == 6 and metrics.stats["bbox_mAP_50"] < 1.0
    assert "1 of 6 images have no result files (the first: " in capsys.readouterr().out


def break_results(case: dict[str, str], how: str) -> None:
    boxes, scores = result_paths(case["result_path"], "001.png")
    if how == "truncated":
        scores.write_bytes(scores.read_bytes()[:-100])
    elif how == "half":
        boxes.unlink()
    elif how.startswith("nan"):
        path = boxes if how == "nan in boxes" else scores
        values = np.fromfile(path, np.float32)
        values[7] = np.nan
        values.tofile(path)
    elif how == "none":
        for path in Path(case["result_path"]).iterdir():
            path.unlink()
    elif how == "no folder":
        case["result_path"] = "nowhere"
    elif how == "no images":
        case["img_path"] = case["result_path"]
    elif how == "other classes":
        write_card(Path(case["mindir_path"]), ["cat", "dog"], LEVELS)
    elif how == "other file":
        Path(case["mindir_path"]).write_bytes(b"another network")
    elif how == "same stems":
        annotations = json.loads(Path(case["anno_path"]).read_text())
        annotations["images"][0]["file_name"] = "001.jpg"
        Path(case["anno_path"]).write_text(json.dumps(annotations))
        (Path(case["img_path"]) / "001.jpg").touch()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", r"001_1\.bin: truncated: it has 800 bytes, float32 \[75, 3\] takes 900"),
        ("half", r"001_0\.bin is missing, other files of"),
        ("nan in boxes", r"the results of .*001\.png hold values that are no numbers"),
        ("nan in scores", r"the results of .*001\.png hold values that are no numbers"),
        ("none", r"no result files of any of the 6 images, such as .*000\.png"),
        ("no folder", r"--result_path: no such folder: nowhere"),
        ("no images", r"labels\.json: none of its images is there"),
        ("other classes", r"categories differ from the 2 classes"),
        ("other file", r"net\.mindir is not the file that net\.json was written for"),
        ("same stems", r"001\.png and .*001\.jpg would have the same result files"),
    ],
)
def test_mistakes(case: dict[str, str], how: str, message: str) -> None:
    break_results(case, how)
    with pytest.raises(UserError, match=message) as error:
        postprocess(**case)
    assert "\n" not in str(error.value)
    assert not Path(case["prediction_path"]).exists()


ROWS = 6
MASK = np.zeros((28, 28), np.float32)  # of the left half of a box
MASK[:, :14] = 1.0


@pytest.fixture
def detections(tmp_path: Path) -> tuple[dict[str, str], dict[str, Detections]]:
    """Arguments of postprocess for the results of a mask model, and the detections of each image (by file name).

    The objects are the left halves of their boxes, which are found; the rows that are not valid are no numbers.
    """
    write_dataset(tmp_path)
    card = write_card(tmp_path / "net.mindir", NAMES, [ROWS], form="detections", mask_threshold=0.5)
    path = tmp_path / "labels.json"
    annotations = json.loads(path.read_text())
    found = {}
    for image in annotations["images"]:
        boxes, scores = np.full((1, ROWS, 4), np.nan, np.float32), np.full((1, ROWS), np.nan, np.float32)
        labels, valid = np.full((1, ROWS), 99, np.int32), np.zeros((1, ROWS), bool)
        masks = np.full((1, ROWS, 28, 28), np.nan, np.float32)
        objects = [a for a in annotations["annotations"] if a["image_id"] == image["id"]]
        assert len(objects) < ROWS
        for row, one in enumerate(objects):
            x, y, w, h = one["bbox"]
            one["segmentation"] = [[x, y, x + w / 2, y, x + w / 2, y + h, x, y + h]]
            boxes[0, row], scores[0, row], valid[0, row], masks[0, row] = [x, y, x + w, y + h], 0.9, True, MASK
            labels[0, row] = card.class_names.index(NAMES[IDS.index(one["category_id"])])
        found[image["file_name"]] = Detections(boxes, scores, labels, valid, masks)
        write_results(tmp_path / "result_Files", image["file_name"], [value[0] for value in found[image["file_name"]]])
    path.write_text(json.dumps(annotations))
    return {
        "mindir_path": str(tmp_path / "net.mindir"),
        "result_path": str(tmp_path / "result_Files"),
        "anno_path": str(path),
        "img_path": str(tmp_path / "data"),
        "prediction_path": str(tmp_path / "found.json"),
    }, found


def test_masks_of_detections(detections: tuple[dict[str, str], dict[str, Detections]]) -> None:
    """They are pasted and evaluated as eval.py does it, and written with the boxes."""
    case, found = detections
    metrics = postprocess(**case)
    assert metrics.stats["bbox_mAP_50"] == 1.0 and metrics.stats["segm_mAP_50"] > 0.9
    evaluator = CocoEvaluator(case["anno_path"], NAMES, IDS, ("bbox", "segm"))
    for image in evaluator.annotations["images"]:
        info = np.array([[image["height"], image["width"], 0, 0, 0, 0]], np.float32)
        one = found[image["file_name"]]
        evaluator.add(np.array([image["id"]]), one, encode_detections(one, info, 0.5))
    assert json.loads(Path(case["prediction_path"]).read_text()) == evaluator.results()
    assert metrics.stats == evaluator.compute_metrics().stats


def test_detections_without_masks(detections: tuple[dict[str, str], dict[str, Detections]]) -> None:
    case, _ = detections
    write_card(Path(case["mindir_path"]), NAMES, [ROWS], form="detections")
    metrics = postprocess(**case)
    assert metrics.stats["bbox_mAP_50"] == 1.0 and "segm_mAP" not in metrics.stats


@pytest.mark.parametrize(
    ("output", "value", "message"),
    [
        (0, np.nan, "hold values that are no numbers"),
        (1, np.nan, "hold values that are no numbers"),
        (2, 3, "hold other labels than those of its classes"),
        (2, -1, "hold other labels than those of its classes"),
        (4, np.nan, "hold values that are no numbers"),
    ],
)
def test_detections_that_are_none(
    detections: tuple[dict[str, str], dict[str, Detections]], output: int, value: float, message: str
) -> None:
    case, found = detections
    path = result_paths(case["result_path"], "001.png", 5)[output]
    values = np.fromfile(path, found["001.png"][output].dtype)
    values[0] = value
    values.tofile(path)
    with pytest.raises(UserError, match=rf"the results of .*001\.png {message}"):
        postprocess(**case)


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    """400 images of 5 MB, which are one file under 400 names."""
    write_dataset(tmp_path, 1)
    card = write_card(tmp_path / "net.mindir", NAMES, [180000])
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 0.0500001, (180000, 3))
    write_results(tmp_path / "result_Files", "000.png", [np.tile(noise(1)[0], (2400, 1)), scores])
    annotations = json.loads((tmp_path / "labels.json").read_text())
    first = annotations["images"][0]
    for i in range(1, 400):
        annotations["images"].append({**first, "id": 1000 + i, "file_name": f"{i}.png"})
        (tmp_path / f"data/{i}.png").touch()
        for new, old in zip(
            *(result_paths(tmp_path / "result_Files", n) for n in (f"{i}.png", "000.png")), strict=True
        ):
            os.link(old, new)
    (tmp_path / "labels.json").write_text(json.dumps(annotations))
    assert card.preprocessing == PREPROCESSING
    program = (
        "import resource, sys; from src.commands.postprocess import postprocess\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "postprocess(*sys.argv[1:5], prediction_path=sys.argv[5])\n"
        "print('grown', (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    arguments = [tmp_path / name for name in ("net.mindir", "result_Files", "labels.json", "data", "found.json")]
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, text=True,
                          capture_output=True, check=True)  # fmt: skip
    assert int(done.stdout.split("grown")[1]) < 300  # megabytes of 2,000
